"""The torso image on made-up frames, worked out by hand."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from tiny_clips import write_unofficial

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.frame_images import FrameFiles, load_frame
from nerfblendshape_ns.data.labels import seam, seam_ring
from nerfblendshape_ns.data.layouts import read_clip
from nerfblendshape_ns.data.torso_image import DARKENING, DARKEST, NECK_EXTENT, NECK_START, TORSO_EXTENT, torso_image

SIZE = 512
CHIN, SHOULDER = 300, 340


def frame():
    """Head above a narrow neck, and shoulders that touch the head (long hair) on the right."""
    labels = np.zeros((SIZE, SIZE), np.uint8)
    labels[100:CHIN, 150:400] = Label.HEAD
    labels[CHIN:SHOULDER, 200:300] = Label.NECK
    labels[CHIN:, 320:400] = Label.TORSO
    labels[SHOULDER:, 100:450] = Label.TORSO
    image = np.full((SIZE, SIZE, 3), 10, np.uint8)
    image[labels == Label.HEAD] = (200, 100, 50)
    image[labels == Label.NECK] = (180, 120, 90)
    image[CHIN : CHIN + NECK_START, 200:300] = (20, 20, 20)  # The shadow of the chin.
    image[labels == Label.TORSO] = (0, 0, 250)
    return image, labels


def test_neck_and_torso_go_on_behind_the_head():
    torso = torso_image(*frame())
    assert torso.shape == (SIZE, SIZE, 4) and torso.dtype == np.uint8
    inside = torso[CHIN - NECK_EXTENT + 8 : CHIN, 220:280]
    assert (inside[..., 3] == 255).all()
    assert torso[CHIN - NECK_EXTENT - 8, 250, 3] == 0 and torso[CHIN - TORSO_EXTENT - 8, 360, 3] == 0
    assert torso[CHIN - TORSO_EXTENT + 5, 360, 3] > 250
    # The neck's colour comes from below the shadow and darkens by a factor a pixel from there, to an end.
    for above in (5, 10, 20, 30):
        expected = np.array([180, 120, 90]) * max(DARKENING ** (above + NECK_START), DARKEST)
        np.testing.assert_allclose(torso[CHIN - above, 250, :3], expected, atol=1.5)
    np.testing.assert_array_equal(torso[400, 200], [0, 0, 250, 255])


def test_nothing_of_head_or_background_is_in_it():
    image, labels = frame()
    torso = torso_image(image, labels)
    shown = torso[..., 3] > 0
    # Head orange, background grey; only blue cloth, skin and its shades may show.
    away = np.abs(torso[..., :3].astype(int) - np.array([200, 100, 50])).sum(-1)
    assert away[shown].min() > 30
    assert torso[200, 200, 3] == 0 and torso[450, 20, 3] == 0


def test_a_frame_without_torso_is_empty():
    image, labels = frame()
    labels[labels != Label.HEAD] = Label.BACKGROUND
    assert torso_image(image, labels)[..., 3].max() == 0


def test_seam_is_where_head_and_body_touch():
    _, labels = frame()
    line = seam(labels) > 0
    rows, columns = np.nonzero(line)
    assert set(rows) == {CHIN - 1, CHIN}
    assert 199 in columns and 300 in columns and 310 not in columns and 360 in columns
    ring = seam_ring(labels)
    assert ring[CHIN + 14, 250] and not ring[CHIN + 18, 250] and not ring[150, 250]
    assert not seam_ring(np.zeros((8, 8), np.uint8)).any()


def test_an_own_torso_image_wins_and_is_checked(tmp_path):
    image, labels = frame()
    files = FrameFiles(tmp_path / "i.png", tmp_path / "l.png", torso=tmp_path / "t.png")
    file_io.save_image(files.image, image)
    file_io.save_image(files.labels, labels)
    own = np.zeros((SIZE, SIZE, 4), np.uint8)
    own[300:] = (1, 2, 3, 255)
    file_io.save_image(files.torso, own)
    loaded = load_frame(files, (SIZE, SIZE), (SIZE, SIZE), "frame")
    np.testing.assert_array_equal(loaded.torso, own)
    assert load_frame(files, (SIZE, SIZE), (SIZE, SIZE), "head").torso is None
    small = load_frame(files, (SIZE, SIZE), (64, 64), "frame").torso
    np.testing.assert_array_equal(small[-1, 0], [1, 2, 3, 255])
    file_io.save_image(files.torso, own[..., :3])
    with pytest.raises(UserError, match=r"t\.png is not an 8-bit RGBA image of 512x512 pixels; write it again or rem"):
        load_frame(files, (SIZE, SIZE), (SIZE, SIZE), "frame")


def test_head_masks_alone_make_no_torso(tmp_path):
    write_unofficial(tmp_path / "clip", 6, ("ori_imgs", "head_masks"))
    clip = read_clip(tmp_path / "clip", "auto")
    with pytest.raises(UserError, match="neither labels of neck and torso nor a torso image .* needs parsing/"):
        load_frame(clip.frames[0].files, (clip.height, clip.width), (clip.height, clip.width), "frame")


def test_a_torso_image_of_16_bits_is_refused(tmp_path):
    """Its colours would all be taken for white."""
    write_unofficial(tmp_path / "clip", 12)
    files = read_clip(tmp_path / "clip").frames[0].files
    path = tmp_path / "torso.png"
    assert cv2.imwrite(str(path), np.full((96, 96, 4), 30_000, np.uint16))
    with pytest.raises(UserError, match=r"torso\.png is not an 8-bit RGBA image of 96x96 pixels; write it again"):
        load_frame(replace(files, torso=path), (96, 96), (48, 48), "frame")
