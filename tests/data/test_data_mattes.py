import shutil

import cv2
import numpy as np
import pytest
from tiny_clips import HEAD_COLOUR, SIZE, write_own

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.frame_images import check_files, load_frame
from nerfblendshape_ns.data.labels import soft_alpha
from nerfblendshape_ns.data.layouts import read_clip
from nerfblendshape_ns.data.mattes import foreground_colours, head_alpha


@pytest.fixture
def matted(tmp_path):
    """A tiny clip whose mattes are half open in a ring round the head."""
    root = tmp_path / "clip"
    clip = write_own(root, num_frames=12)
    for frame, labels in enumerate(clip.labels):
        matte = np.where(labels > 0, 255, 0).astype(np.uint8)
        grown = cv2.dilate(matte, np.ones((5, 5), np.uint8))
        matte[(grown > 0) & (matte == 0)] = 128
        file_io.save_image(root / contract.ALPHA / contract.alpha_name(frame), matte)
    return root, clip


def test_head_alpha_is_the_matte_where_no_one_else_is_near():
    labels = np.zeros((64, 64), np.uint8)
    labels[16:40, 16:48], labels[40:52, 24:40], labels[52:] = Label.HEAD, Label.NECK, Label.TORSO
    matte = np.where(labels > 0, 255, 0).astype(np.uint8)
    matte[8:16, 30] = 200  # a strand above the head
    alpha = head_alpha(labels, matte)
    assert alpha.dtype == np.float32 and 0 <= alpha.min() and alpha.max() <= 1
    np.testing.assert_allclose(alpha[8:16, 30], 200 / 255, atol=1e-6)
    assert alpha[30, 30] == pytest.approx(1) and alpha[48, 30] == pytest.approx(0) and alpha[58, 5] == pytest.approx(0)
    # Half of each at the border with the neck, as with labels alone.
    assert alpha[39, 32] + alpha[40, 32] == pytest.approx(1, abs=1e-3)
    assert (head_alpha(np.zeros_like(labels), matte) == 0).all()


def test_foreground_colours_undo_the_mixture():
    matte = np.zeros((32, 512), np.uint8)
    matte[:, :240] = 255
    matte[:, 240:256] = np.linspace(240, 15, 16).astype(np.uint8)
    alpha = matte[..., None] / 255.0
    hair, wall = np.array([60.0, 40, 25]), np.array([220.0, 230, 210])
    image = np.rint(alpha * hair + (1 - alpha) * wall).astype(np.uint8)
    own = foreground_colours(image, matte)
    assert own.dtype == np.uint8 and own.shape == image.shape
    np.testing.assert_array_equal(own[:, :240], image[:, :240])
    assert np.abs(own[:, 240:256].astype(float) - hair).max() < 40
    assert np.abs(image[:, 240:256].astype(float) - hair).max() > 150
    # Mixed again over the wall, the picture comes nearly back.
    np.testing.assert_allclose(alpha * own + (1 - alpha) * wall, image, atol=15)


def test_mattes_beside_the_labels_make_the_soft_edge(matted):
    root, clip = matted
    files = read_clip(root).frames[3].files
    assert files.matte == root / "alpha" / "000003.png"
    full = (SIZE, SIZE)
    frame = load_frame(files, full, full, "head")
    labels = clip.labels[3]
    ring = (cv2.dilate((labels == Label.HEAD).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & (labels == 0)
    ring[int(0.6 * SIZE) :] = False
    assert abs(int(np.median(frame.alpha[ring])) - 128) <= 2
    np.testing.assert_array_equal(frame.labels, labels)
    # Under the half-open ring are the head's colours, not the wall's.
    assert np.abs(frame.image[ring].astype(float) - HEAD_COLOUR).mean() < 40
    small = load_frame(files, full, (SIZE // 2, SIZE // 2), "head")
    np.testing.assert_allclose(
        small.alpha, cv2.resize(frame.alpha, (SIZE // 2,) * 2, interpolation=cv2.INTER_AREA), atol=2
    )
    # The whole frame stays as it was filmed.
    np.testing.assert_array_equal(load_frame(files, full, full, "frame").image, file_io.load_image(files.image))


def test_without_mattes_nothing_changes(matted):
    root, clip = matted
    shutil.rmtree(root / contract.ALPHA)
    files = read_clip(root).frames[3].files
    assert files.matte is None
    frame = load_frame(files, (SIZE, SIZE), (SIZE, SIZE), "head")
    np.testing.assert_array_equal(frame.alpha, (soft_alpha(clip.labels[3]) * 255 + 0.5).astype(np.uint8))


def test_wrong_mattes_have_their_own_messages(matted):
    root, _ = matted
    files = read_clip(root).frames[3].files
    size = (SIZE, SIZE)
    files.matte.unlink()
    with pytest.raises(UserError, match=r"alpha/000003.png does not exist; restore the file"):
        check_files(files, size)
    with pytest.raises(UserError, match=r"alpha/000003.png does not exist; restore the file"):
        load_frame(files, size, size, "head")
    file_io.save_image(files.matte, np.zeros((SIZE, SIZE, 3), np.uint8))
    with pytest.raises(UserError, match=r"000003.png is not an 8-bit single-channel image; .*remove the folder"):
        load_frame(files, size, size, "head")
    file_io.save_image(files.matte, np.zeros((SIZE, SIZE // 2), np.uint8))
    for read in (check_files, lambda found, full: load_frame(found, full, full, "head")):
        with pytest.raises(UserError, match=r"000003.png is 48x96 pixels but the clip's frames are 96x96"):
            read(files, size)
