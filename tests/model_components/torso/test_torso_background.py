"""What is behind the person: words, colours and files for users, tensors alone for checkpoints."""

import cv2
import numpy as np
import pytest
import torch

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.model_components.torso import background as module
from nerfblendshape_ns.model_components.torso.background import (
    Background,
    BackgroundChoice,
    parse_background,
    saved_background,
)


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
    assert parse_background(text, "--background") == BackgroundChoice("color", color)


def test_words_and_files(tmp_path, monkeypatch):
    assert parse_background("plate", "--background") == BackgroundChoice()
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "room.png"), image[..., ::-1])
    parsed = parse_background(str(tmp_path / "room.png"), "--background")
    assert parsed.kind == "image" and parsed.image is not None
    assert np.array_equal(parsed.image.numpy(), image)
    # A word stays what it is, whatever files lie about.
    monkeypatch.chdir(tmp_path)
    for word in ("white", "plate"):
        (tmp_path / word).write_bytes((tmp_path / "room.png").read_bytes())
        assert parse_background(word, "--background").image is None


@pytest.mark.parametrize("text", ["beach", "", "#12345", "a" * 3000, "a\0b", "/tmp"])
def test_what_is_none_of_these(text):
    with pytest.raises(UserError) as error:
        parse_background(text, "--background", "own, plate")
    assert str(error.value) == (
        f"--background {text!r} is neither own, plate, a colour such as white or #00ff00, nor an image file that "
        "exists; give one of these."
    )


def test_what_is_saved_is_read_again(tmp_path):
    image = torch.zeros(2, 2, 3, dtype=torch.uint8)
    for shown, saved in (
        (BackgroundChoice(), "plate"),
        (BackgroundChoice("color", (16, 32, 255)), "#1020ff"),
        (BackgroundChoice("image", image=image), "image"),
    ):
        assert Background(None, shown).saved == saved
        again = saved_background(saved, image if saved == "image" else None)
        assert (again.kind, again.color) == (shown.kind, shown.color) and again.image is shown.image


@pytest.mark.parametrize("kind", ["/home/me/room.png", "room.png", "white", None, 3, ["plate"], "#00FF00\n", {}])
def test_a_saved_path_is_refused_unopened(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("room.png", np.zeros((4, 4, 3), np.uint8))
    monkeypatch.setattr(module, "load_image", lambda *_: pytest.fail("a file was opened"))
    with pytest.raises(UserError, match="its description names the background .* neither plate, image nor a colour"):
        saved_background(kind, torch.zeros(2, 2, 3, dtype=torch.uint8))


def test_a_saved_image_that_is_missing():
    with pytest.raises(UserError, match="the image behind the person is missing from it; train or export again"):
        saved_background("image", None)
