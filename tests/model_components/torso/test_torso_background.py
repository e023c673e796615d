"""What is behind the person: words, colours and files for users, tensors alone for checkpoints."""

import cv2
import numpy as np
import pytest
import torch

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.model_components.torso import background as backdrop
from nerfblendshape_ns.model_components.torso.background import Backdrop, Background, parse_background, saved_background


@pytest.mark.parametrize(
    ("text", "color"),
    [
        ("white", (255, 255, 255)),
        ("green", (0, 128, 0)),
        ("#0f0", (0, 255, 0)),
        ("#102030", (16, 32, 48)),
        ("rgb(1, 2, 3)", (1, 2, 3)),
    ],
)
def test_colours_as_css_writes_them(text, color):
    assert parse_background(text, "--background") == Background("color", color)


def test_words_and_files(tmp_path, monkeypatch):
    assert parse_background("plate", "--background") == Background()
    picture = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "room.png"), picture[..., ::-1])
    parsed = parse_background(str(tmp_path / "room.png"), "--background")
    assert parsed.kind == "picture" and parsed.picture is not None
    assert np.array_equal(parsed.picture.numpy(), picture)
    # A word stays what it is, whatever files lie about.
    monkeypatch.chdir(tmp_path)
    for word in ("white", "plate"):
        (tmp_path / word).write_bytes((tmp_path / "room.png").read_bytes())
        assert parse_background(word, "--background").picture is None


@pytest.mark.parametrize("text", ["beach", "", "#12345", "a" * 3000, "a\0b", "/tmp"])
def test_what_is_none_of_these(text):
    with pytest.raises(UserError) as error:
        parse_background(text, "--background", "own, plate")
    assert str(error.value) == (
        f"--background {text!r} is neither own, plate, a colour such as white or #00ff00, nor an image file that "
        "exists; give one of these."
    )


def test_what_is_saved_is_read_again(tmp_path):
    picture = torch.zeros(2, 2, 3, dtype=torch.uint8)
    for shown, saved in (
        (Background(), "plate"),
        (Background("color", (16, 32, 255)), "#1020ff"),
        (Background("picture", picture=picture), "picture"),
    ):
        assert Backdrop(None, shown).saved == saved
        again = saved_background(saved, picture if saved == "picture" else None)
        assert (again.kind, again.color) == (shown.kind, shown.color) and again.picture is shown.picture


@pytest.mark.parametrize("kind", ["/home/me/room.png", "room.png", "white", None, 3, ["plate"], "#00FF00\n", {}])
def test_a_saved_path_is_refused_unopened(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("room.png", np.zeros((4, 4, 3), np.uint8))
    monkeypatch.setattr(backdrop, "load_image", lambda *_: pytest.fail("a file was opened"))
    with pytest.raises(UserError, match="its description names the background .* neither plate, picture nor a colour"):
        saved_background(kind, torch.zeros(2, 2, 3, dtype=torch.uint8))


def test_a_saved_picture_that_is_missing():
    with pytest.raises(UserError, match="the picture behind the person is missing from it; train or export again"):
        saved_background("picture", None)
