"""The baselines with one static grid: what their images depend on."""

from __future__ import annotations

import pytest
import torch
from nerfstudio.engine.callbacks import TrainingCallbackLocation
from tiny_head import batch_for, bundle, camera, make, metadata
from torch import nn

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.models.head import HeadModel
from nerfblendshape_ns.models.rebuild import build_head

OPTIONS = {
    "concat": {"conditioning": "concat"},
    "code": {"conditioning": "code", "frame_code_dim": 4},
    "static": {"conditioning": "static"},
}


def model_of(kind: str) -> HeadModel:
    model = make(head_pose_scale=0.0, expression_noise=0.0, **OPTIONS[kind])
    with torch.no_grad():
        if isinstance(model.field.frame_codes, nn.Embedding):
            model.field.frame_codes.weight.normal_()
    return model.eval()


def image(model: HeadModel, frame: int) -> torch.Tensor:
    """What the model shows of a frame's coefficients."""
    expression = metadata()["track"]["expression"][frame : frame + 1]
    with torch.no_grad():
        return model.get_outputs_for_camera(camera({"expression": expression}))["rgb"]


@pytest.mark.parametrize(("kind", "differs"), [("concat", True), ("code", False), ("static", False)])
def test_only_coefficients_that_are_read_change_an_evaluated_image(kind, differs):
    model = model_of(kind)
    assert torch.allclose(image(model, 0), image(model, 1), atol=1e-6) != differs


def test_a_training_frame_is_shown_by_its_own_code_and_others_by_their_mean():
    model, rays = model_of("code"), bundle([2])
    codes = model.field.frame_codes
    assert codes is not None
    model.train()
    with torch.no_grad():
        shown = model.foreground(rays.origins, rays.directions, model.frames_of(rays)).color
        codes.weight[[0, 1, 3]] += 1.0  # Other frames' codes change nothing.
    frames = model.frames_of(rays)
    assert torch.equal(frames.condition, codes.weight[2:3]) and shown.shape == (8, 3)
    model.eval()
    assert torch.allclose(model.frames_of(rays).condition, codes.weight.mean(0, keepdim=True))


@pytest.mark.parametrize("kind", list(OPTIONS))
def test_a_step_trains_what_the_networks_read_and_the_run_opens_again(kind):
    model, rays = model_of(kind).train(), bundle([0, 1])
    losses = model.get_loss_dict(model.get_outputs(rays), batch_for(rays))
    sum(losses.values()).backward()
    assert model.field.density_network.layers[0].weight.grad.abs().sum() > 0
    if kind == "code":
        used = model.field.frame_codes.weight.grad.abs().sum(1) > 0
        assert used[:2].all()
    assert len(model.field.encoding.bases) == 0
    state = model.eval().state_dict()
    opened = build_head(state)
    assert torch.equal(image(opened, 0), image(model, 0))


def test_the_occupancy_is_probed_with_codes(monkeypatch):
    model, seen = make(occupancy_warmup=0, head_pose_scale=0.0, **OPTIONS["code"]), []
    with torch.no_grad():
        model.field.frame_codes.weight.normal_()
    density = model.field.density
    monkeypatch.setattr(model.field, "density", lambda p, t, c, i=None: (seen.append(c), density(p, t, c, i))[1])
    for callback in model.get_training_callbacks(_attributes()):
        callback.run_callback_at_location(0, TrainingCallbackLocation.BEFORE_TRAIN_ITERATION)
    own = model.field.blend(model.field.frame_codes.weight)[1]
    distances = (seen[0][:, None] - own[None]).abs().amax(-1)
    assert distances.amin(1).max() < 1e-5 < (own[1:] - own[:-1]).abs().amax(-1).min()


def test_codes_need_a_length():
    with pytest.raises(UserError, match="conditioning code needs --pipeline.model.frame-code-dim above 0"):
        make(metadata(), conditioning="code")


def _attributes():
    from nerfstudio.engine.callbacks import TrainingCallbackAttributes

    return TrainingCallbackAttributes(None, None, None, None)
