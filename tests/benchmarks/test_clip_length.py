"""The curve over the length of a clip: which frames a shorter clip has, and its line."""

from __future__ import annotations

import json
from pathlib import Path

import clip_length
import pytest

from nerfblendshape_ns.common.errors import UserError


@pytest.fixture
def dataset(tmp_path) -> Path:
    folder = tmp_path / "clip"
    (folder / "images").mkdir(parents=True)
    (folder / "expr.npy").write_bytes(b"x")
    frames = [{"img_id": number} for number in range(20)]
    (folder / "transforms.json").write_text(json.dumps({"w": 8, "frames": frames}))
    return folder


def test_a_shorter_clip_has_the_first_frames_and_the_tested_ones(dataset, tmp_path):
    assert clip_length.lengths(dataset, 4) == [2, 4, 8, 16]
    view = tmp_path / "view"
    for length in (6, 3):
        clip_length.link_frames(dataset, view, length, 4)
    transforms = json.loads((view / "transforms.json").read_text())
    assert [frame["img_id"] for frame in transforms["frames"]] == [0, 1, 2, 16, 17, 18, 19] and transforms["w"] == 8
    assert (view / "expr.npy").read_bytes() == b"x" and (view / "images").is_dir()
    assert len(json.loads((dataset / "transforms.json").read_text())["frames"]) == 20
    with pytest.raises(UserError, match="has 20 frames, too few for 17 and 4 that are tested"):
        clip_length.link_frames(dataset, view, 17, 4)


def test_line():
    row = {"psnr": 30.04}
    result = {"frames": 125, "cpu_minutes": 2.34, **{name: {**row, "lpips": 0.0123} for name in clip_length.ROWS}}
    assert clip_length.line(result).split() == "125 30.0 / 30.0 30.0 / 30.0 0.012 / 0.012 2.3".split()
    result["head"] = result["mask"] = row
    assert clip_length.line(result).split()[7:] == ["-", "/", "-", "2.3"]
