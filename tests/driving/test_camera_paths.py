"""The example camera paths: nerfstudio reads them, they look at the face, and expressions follow their times."""

import json
from pathlib import Path

import pytest
import torch
from nerfstudio.cameras.camera_paths import get_path_from_json

from nerfblendshape_ns.avatar.avatar import open_avatar

PATHS = sorted((Path(__file__).parents[2] / "configs" / "camera_paths").glob("*.json"))


def cameras(path: Path):
    return get_path_from_json(json.loads(path.read_text()))


@pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])
def test_cameras_look_at_the_face_from_the_front(path):
    poses = cameras(path).camera_to_worlds
    rotation, position = poses[:, :, :3], poses[:, :, 3]
    assert torch.allclose(rotation @ rotation.transpose(1, 2), torch.eye(3).expand_as(rotation), atol=1e-4)
    assert torch.allclose(torch.linalg.det(rotation), torch.ones(len(poses)), atol=1e-4)
    # The origin, the middle of the head, is in the middle of the picture.
    assert torch.allclose(-rotation[:, :, 2], -position / position.norm(dim=1, keepdim=True), atol=1e-4)
    # The face looks along -y with its top along +z.
    assert (position[:, 1] < -2.5).all() and (rotation[:, 2, 1] > 0.95).all()


def test_there_are_paths_with_and_without_times():
    timed = {path.stem: cameras(path).times is not None for path in PATHS}
    assert timed == {"front": True, "orbit": True, "push_in": False}
    times = cameras(next(path for path in PATHS if path.stem == "orbit")).times
    assert times is not None and float(times.min()) == 0.0 and float(times.max()) == 1.0


def test_expressions_follow_the_times_of_a_path_or_are_held(tiny_run):
    avatar = open_avatar(tiny_run[0])
    source = avatar.model.expression_source
    assert avatar.track is not None
    front = cameras(next(path for path in PATHS if path.stem == "front"))
    first, last = source.resolve(front[0:1]), source.resolve(front[len(front) - 1 : len(front)])
    assert torch.allclose(first.expression, source.clamp(avatar.track.expression[0]))
    assert torch.allclose(last.expression, source.clamp(avatar.track.expression[-1]))
    held = cameras(next(path for path in PATHS if path.stem == "push_in"))[7:8]
    held.metadata = {"cam_idx": 3}
    assert torch.allclose(source.resolve(held).expression, source.clamp(avatar.track.expression[3]))
