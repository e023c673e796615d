"""What a training step of the torso does besides rendering: its truth, its background, its occupancy."""

import pytest
import torch
from nerfstudio.engine.callbacks import TrainingCallbackAttributes
from tiny_head import bundle, make, metadata
from tiny_torso import frame_metadata, make_torso, torso_batch

NO_PIPELINE = TrainingCallbackAttributes(None, None, None, None)


def test_the_truth_of_a_ray_is_head_and_torso_over_the_background():
    """Of a pixel whose head covers half and whose torso half of the rest, a quarter is background."""
    model = make_torso()
    batch = {"image": torch.full((3, 3), 0.8), "alpha": torch.tensor([[0.5], [1.0], [0.0]])}
    batch["torso"] = torch.tensor([[0.1, 0.1, 0.1, 0.5], [0.1, 0.1, 0.1, 0.5], [0.1, 0.1, 0.1, 0.5]])
    target = model.ray_target({"background": torch.full((3, 3), 0.4)}, batch)
    torch.testing.assert_close(target[:, 0], torch.tensor([0.75 * 0.8 + 0.1, 0.8, 0.6]))


@pytest.mark.parametrize("deformation", ["linear", "network"])
@pytest.mark.parametrize("frames", [[1], [0, 1]])
def test_a_clip_without_a_torso_trains(deformation, frames):
    """No ray meets anything, and no frame code ties the loss to a parameter."""
    model, rays = make_torso(frame_code_dim=0, deformation=deformation).train(), bundle(frames)
    model.occupancy.start_from(torch.zeros(128, 128, dtype=torch.bool), torch.ones(128, 128))
    losses = model.get_loss_dict(model(rays), torso_batch(len(rays)))
    torch.stack(list(losses.values())).sum().backward()
    assert model.field.table.grad is not None and not bool(model.field.table.grad.any())


def test_what_the_head_lacks_is_the_torso_s_only_where_frames_without_head_show_torso():
    """Else it paints the rim of an ear, which stays where it is when the head turns."""
    model, rays = make_torso().train(), bundle([1])
    batch = torso_batch(len(rays)) | {"alpha": torch.ones(len(rays), 1)}
    batch["torso"][:, 3] = 0.0
    learnt = []
    for shown in (0.0, 0.5, 1.0):
        model.occupancy.shown.fill_(shown)
        torch.manual_seed(0)  # Of background and codes.
        loss = model.get_loss_dict(model(rays), batch)["color_loss"]
        (gradient,) = torch.autograd.grad(loss, model.field.table)
        learnt.append(gradient)
    assert not bool(learnt[0].any()) and float(learnt[2].abs().max()) > 1e-6
    torch.testing.assert_close(learnt[1], 0.5 * learnt[2])


def test_each_step_has_a_random_background():
    model, rays = make_torso(), bundle([1])
    model.train()
    first, second = (model.get_outputs(rays)["background"] for _ in range(2))
    assert bool((first == first[0]).all()) and not torch.allclose(first, second, atol=1e-3)


def test_depth_is_that_of_what_is_seen():
    """The head's where it is opaque, the plane's where only the torso is; between them by their shares."""
    model = make_torso().eval()
    outputs = model.get_outputs(bundle([1], rays_each=40))
    head, torso = outputs["head_accumulation"], (1 - outputs["head_accumulation"]) * outputs["torso_alpha"]
    alone = model.trained_head().get_outputs(bundle([1], rays_each=40))["depth"]
    rays = bundle([1], rays_each=40)
    plane = model.plane(rays.origins, rays.directions, model.pose_code.reference[None]).distance
    expected = (head * alone + torso * plane) / (head + torso)
    assert float(head.mean()) > 0.1 and float(torso.mean()) > 0.1
    assert float((plane - alone).abs().min()) > 0.05, "which of the two is meant shows"
    torch.testing.assert_close(outputs["depth"], expected, rtol=1e-4, atol=1e-4)


def test_the_range_of_the_coefficients_is_the_head_s():
    """A torso's dataset may keep other frames for training; what the head was never shown it does not see."""
    data = frame_metadata()
    data["expression_min"], data["expression_max"] = torch.full((3,), 0.1), torch.full((3,), 0.5)
    head = make(metadata() | {name: data[name] for name in ("intrinsics",)})
    model = make_torso(head=head, data=data)
    torch.testing.assert_close(model.expression_source.minimum, torch.zeros(3))
    torch.testing.assert_close(model.expression_source.maximum, torch.full((3,), 0.8))


def test_the_occupancy_follows_the_opacity_after_its_warm_up(monkeypatch):
    model, updates = make_torso(), []
    monkeypatch.setattr(model.occupancy, "update", lambda opacity, generator: updates.append(step))
    (callback,) = model.get_training_callbacks(NO_PIPELINE)
    for step in range(700):
        callback.func(step=step)
    assert updates == [512, 576, 640]


def test_a_step_does_not_wait_to_learn_that_the_occupancy_has_started(monkeypatch):
    model, asked = make_torso(), []
    (callback,) = model.get_training_callbacks(NO_PIPELINE)
    ask = torch.Tensor.__bool__
    monkeypatch.setattr(torch.Tensor, "__bool__", lambda tensor: (asked.append(tensor), ask(tensor))[1])
    for step in range(3):
        callback.func(step=step)
    assert not asked
