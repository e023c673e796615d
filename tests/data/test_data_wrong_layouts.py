"""Damaged datasets of other projects: each fault has a message of its own."""

import json

import numpy as np
import pytest
import torch

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.layouts import read_clip


def _json(root, name, change):
    document = json.loads((root / name).read_text())
    change(document)
    (root / name).write_text(json.dumps(document))


def _first(key, value):
    """Sets a key of the frame that comes first in the clip."""

    def change(document):
        frames = sorted(document["frames"], key=lambda entry: entry.get("img_id", entry.get("file_path")))
        frames[0].pop(key) if value is None else frames[0].update({key: value})

    return change


WRONG_INPUT = [
    (
        "official",
        lambda r: _json(r, "transforms.json", _first("exp_ori", [float("nan")] * 46)),
        "frame 3 has numbers in 'exp_ori' that are not finite",
    ),
    ("official", lambda r: _json(r, "transforms.json", _first("exp_ori", None)), "frame 3 has no 'exp_ori'"),
    (
        "official",
        lambda r: _json(r, "transforms.json", _first("exp_ori", [1, 2])),
        "not 2 numbers as the first frame's",
    ),
    (
        "official",
        lambda r: _json(r, "transforms.json", _first("exp_ori", "x")),
        "'exp_ori' that is not a list of numbers",
    ),
    ("official", lambda r: _json(r, "transforms.json", lambda d: d.pop("fx")), "has no 'fx'"),
    ("official", lambda r: (r / "max_46.txt").write_text("1 2 x"), "does not hold one number per coefficient"),
    ("official", lambda r: np.savetxt(r / "max_46.txt", np.ones(40)), "max_46.txt is float64 of shape (40,) but must"),
    ("official", lambda r: np.savetxt(r / "min_46.txt", 2 * np.ones(46)), "min_46.txt is above max_46.txt"),
    ("official", lambda r: (r / "ori_imgs" / "5.lms").write_text("1 2 3"), "5.lms does not hold two numbers x and y"),
    (
        "official",
        lambda r: (r / "bc.jpg").rename(r / "x") and _empty(r, "head_imgs", "ori_imgs"),
        "has the video id1.mp4",
    ),
    ("radnerf", lambda r: (r / "expr.npy").unlink(), "has neither expr.npy"),
    (
        "radnerf",
        lambda r: _json(r, "transforms_val.json", lambda d: d.update(cx=3)),
        "all frames of a clip have one camera",
    ),
    ("radnerf", lambda r: _json(r, "transforms_val.json", _first("img_id", 3)), "two frames have the img_id 3"),
    ("radnerf", lambda r: np.save(r / "expr.npy", np.zeros((9, 6), "f4")), "expr.npy has 9 rows but the clip needs 26"),
    ("radnerf", lambda r: (_track(r), (r / "expr.npy").unlink()), "track_params.pt has no tensor 'exp'"),
    ("radnerf", lambda r: _empty(r, "parsing"), "has none of parsing/, head_masks/"),
    ("unofficial", lambda r: np.save(r / "expr_max.npy", np.ones(4)), "expr_max.npy is float64 of shape (4,)"),
    (
        "unofficial",
        lambda r: _json(r, "transforms_all.json", _first("lip_rect", [1, 2])),
        "'lip_rect' of frame 3 is not",
    ),
    ("insta", lambda r: _json(r, "transforms.json", _first("exp_path", None)), "has no 'exp_path'"),
    ("insta", lambda r: _json(r, "transforms.json", _first("file_path", "images/face.png")), "no number in its name"),
    ("insta", lambda r: (r / "flame/exp/00007.txt").unlink(), "00007.txt does not exist; every frame needs"),
    ("insta", lambda r: (r / "flame/exp/00007.txt").write_text("a b"), "00007.txt does not hold numbers alone"),
    ("insta", lambda r: (r / "flame/jaw/00007.txt").write_text("1 2"), "00007.txt holds 2 numbers, not 6 as 00001.txt"),
    (
        "insta",
        lambda r: (r / "flame/exp/00007.txt").write_text("nan " * 100),
        "00007.txt holds numbers that are not finite",
    ),
    ("insta", lambda r: _json(r, "transforms.json", lambda d: d.update(frames=[])), "'frames' holds no frame"),
    ("insta", lambda r: _json(r, "transforms.json", lambda d: d.pop("w")), "has no 'w'"),
]


def _empty(root, *folders):
    for folder in folders:
        for path in (root / folder).iterdir():
            path.unlink()
        (root / folder).rmdir()
    (root / "id1.mp4").touch()


def _track(root):
    torch.save({"expression": torch.zeros(4, 79)}, root / "track_params.pt")


@pytest.mark.parametrize(("layout", "spoil", "expected"), WRONG_INPUT)
def test_wrong_input_has_its_own_message(tmp_path, layout, spoil, expected):
    from layout_clips import WRITERS

    WRITERS[layout](tmp_path)
    spoil(tmp_path)
    with pytest.raises(UserError) as error:
        read_clip(tmp_path)
    text = str(error.value)
    assert expected in text and str(tmp_path) in text and "\n" not in text and text.endswith(".")
