"""A head whose eyes turn: driven, saved and opened again."""

from typing import Any, Dict

import pytest
import torch
from test_head_face import lifted_metadata
from tiny_head import camera, make

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.contract import IRIS_LANDMARKS
from nerfblendshape_ns.model_components.conditioning.eye_motion import TENSORS
from nerfblendshape_ns.model_components.conditioning.head_conditioning import FrameBatch
from nerfblendshape_ns.models.rebuild import build_head

MIDDLES = torch.tensor([[-0.15, -0.55, 0.05], [0.15, -0.55, 0.05]])


def gazing_metadata() -> Dict[str, Any]:
    """Both irises go to +x with the second coefficient, which reaches 0.5 in training."""
    data = lifted_metadata() | {"expression_names": ["jawOpen", "eyeLookOutLeft", "browInnerUp"]}
    gaze = data["track"]["expression"][:, 1]
    gaze[:4] = torch.tensor([0.0, 0.5, 0.2, 0.4])
    data["expression_max"] = torch.tensor([0.8, 0.5, 0.8])
    seen = data["landmark_tangents"]
    irises = MIDDLES.repeat(4, 1, 1)
    irises[..., 0] += 0.05 * gaze[:4, None]
    tangents = torch.full((4, 478, 2), torch.nan)
    tangents[:, :468] = seen
    tangents[:, list(IRIS_LANDMARKS)] = torch.stack([irises[..., 0], -irises[..., 2]], -1) / (irises[..., 1:2] + 4)
    return data | {"landmark_tangents": tangents}


def driven(gaze: float) -> Any:
    return camera({"expression": torch.tensor([[0.1, gaze, 0.2]])})


def angles(frames: FrameBatch) -> Any:
    """``[frames, 2, 2]``, about x and z of each eye."""
    assert frames.eyes is not None
    return torch.einsum("fk,kea->fea", frames.eyes.coefficients[:, :3], frames.eyes.turns)


@pytest.mark.parametrize("parts", [True, False])
def test_eyes_go_on_where_the_tables_stand_still(parts):
    model = make(gazing_metadata(), face_parts=parts).eval()
    assert (model.conditioning.parts is not None) == parts
    source = model.expression_source
    torch.testing.assert_close(source.maximum, torch.tensor([0.8, 0.75, 0.8]))
    torch.testing.assert_close(source.minimum, torch.tensor([0.0, -0.25, 0.0]))
    assert float(model.occupancy.extremes[:, 1].max()) == 0.5
    inside, beyond, further = (
        model.frames(source.clamp(torch.tensor([[0.1, gaze, 0.2]]))) for gaze in (0.5, 0.75, 2.0)
    )
    assert torch.equal(inside.condition, beyond.condition) and torch.equal(inside.tables, beyond.tables)
    turn = angles(beyond) - angles(inside)
    assert float(turn[..., 1].min()) > 0.02 and float(turn[..., 0].abs().max()) < 0.5 * float(turn[..., 1].min())
    torch.testing.assert_close(angles(further), angles(beyond))


def test_training_frames_turn_their_eyes():
    model = make(gazing_metadata())
    frames = model.training_frames(torch.tensor([0, 1]), None)
    assert float((angles(frames)[1] - angles(frames)[0])[:, 1].min()) > 0.05


def test_a_rebuilt_head_has_the_same_eyes():
    model = make(gazing_metadata()).eval()
    rebuilt = build_head(model.state_dict())
    torch.testing.assert_close(rebuilt.expression_source.maximum, model.expression_source.maximum)
    for gaze in (0.3, 0.7):
        expected = model.get_outputs_for_camera(driven(gaze))["rgb"]
        assert torch.equal(rebuilt.get_outputs_for_camera(driven(gaze))["rgb"], expected)
    assert not torch.equal(expected, model.get_outputs_for_camera(driven(0.5))["rgb"])


def test_a_head_that_was_trained_without_eyes_opens():
    old = make(gazing_metadata()).eval()
    old.conditioning.turn(None)
    old.expression_source.maximum[1], old.expression_source.minimum[1] = 0.5, 0.0
    state = old.state_dict()
    resumed = make(gazing_metadata()).eval()
    resumed.load_state_dict(state)
    for model in (resumed, build_head(state)):
        assert model.conditioning.eyes is None and float(model.expression_source.maximum[1]) == pytest.approx(0.5)
        expected = old.get_outputs_for_camera(driven(0.9))["rgb"]
        assert torch.equal(model.get_outputs_for_camera(driven(0.9))["rgb"], expected)


def test_a_checkpoint_brings_the_limits_of_its_gaze():
    saved, resumed = make(gazing_metadata()).eval(), make(gazing_metadata()).eval()
    eyes, parts = saved.conditioning.eyes, saved.conditioning.parts
    assert eyes is not None and parts is not None
    eyes.high[1] = 0.3
    parts.reference.fill_(0.25)
    resumed.load_state_dict(saved.state_dict())
    seen = resumed.frames(torch.tensor([[0.1, 0.5, 0.2]])).condition
    assert seen[0, 1] == pytest.approx(0.3) and seen[1, 1] == pytest.approx(0.25)


@pytest.mark.parametrize("name", TENSORS)
def test_eyes_of_other_shapes_are_refused(name):
    """A kernel would read beyond their ends."""
    state = make(gazing_metadata()).state_dict()
    state[f"conditioning.eyes.{name}"] = torch.cat([state[f"conditioning.eyes.{name}"]] * 2)
    with pytest.raises(UserError, match="its eyes are none of two eyeballs and its coefficients; train or export"):
        build_head(state)
