"""What the user brings beside the video is checked before the long steps, and what is finished is kept."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from stand_in_tracker import NUM_FRAMES, SIZE, process, snapshot

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.process_data import input_checks
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.steps import track_step
from nerfblendshape_ns.process_data.steps.step_record import StepRecord


@pytest.fixture
def masks(tmp_path):
    """One mask for each frame of the video, of its size."""
    labels = np.zeros((SIZE, SIZE), np.uint8)
    labels[20:70, 25:70], labels[70:80, 35:60], labels[80:, 10:] = 1, 2, 3
    folder = tmp_path / "masks"
    for number in range(NUM_FRAMES):
        file_io.save_image(folder / f"{number:06d}.png", labels)
    return folder


@pytest.fixture
def untracked(monkeypatch):
    """Fails the test where the face is tracked."""

    def refuse(*_):
        pytest.fail("the face was tracked before the input was checked")

    monkeypatch.setattr(track_step, "track_face", refuse)


def finished(options: ProcessOptions):
    return list(StepRecord(options.output).steps) if options.output.exists() else []


def change(masks, number, image):
    file_io.save_image(masks / f"{number:06d}.png", image)


@pytest.mark.parametrize("number", [0, 7, NUM_FRAMES - 1])
@pytest.mark.parametrize("side", [SIZE, 64], ids=["video's size", "smaller images"])
def test_a_missing_mask_is_named_before_tracking(tracker, untracked, options, masks, number, side):
    (masks / f"{number:06d}.png").unlink()
    chosen = replace(options, parsing=masks, max_size=side, on_missing="fail")
    with pytest.raises(UserError, match=rf"masks has no mask for frame of the video {number} \(1 of 14 are missing\)"):
        process(chosen)
    assert finished(chosen) == ["survey", "frames"]


def test_a_missing_mask_is_named_before_tracking_where_frames_may_be_dropped(tracker, untracked, options, masks):
    (masks / f"{NUM_FRAMES - 1:06d}.png").unlink()
    with pytest.raises(UserError, match="has no mask for frame of the video 13"):
        process(replace(options, parsing=masks, max_size=64))


def test_masks_of_the_images_that_are_left_are_taken(tracker, options, masks):
    tracker.lost = {4, 5}
    for number in (NUM_FRAMES - 1, NUM_FRAMES - 2):
        (masks / f"{number:06d}.png").unlink()
    document = process(replace(options, parsing=masks))
    assert document["steps"]["segmentation"]["summary"]["source"] == f"your masks in {masks}"


@pytest.mark.parametrize(
    ("number", "image", "message"),
    [
        (9, np.zeros((50, 99), np.uint8), r"000009.png is 99x50 pixels; masks must have the video's size \(96x96\)"),
        (0, np.full((SIZE, SIZE), 9, np.uint8), "000000.png has the value 9; masks are 8-bit labels 0 to 4"),
    ],
)
def test_a_wrong_mask_is_named_before_anything_is_done(tracker, options, masks, number, image, message):
    change(masks, number, image)
    with pytest.raises(UserError, match=message):
        process(replace(options, parsing=masks, max_size=64))
    assert tracker.calls == 0 and not options.output.exists()


def test_an_image_that_is_none_is_named_before_anything_is_done(tracker, options, masks):
    (masks / "000005.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="000005.png cannot be decoded as an image; restore the mask"):
        process(replace(options, parsing=masks))
    assert tracker.calls == 0 and not options.output.exists()


def test_an_image_that_claims_to_be_vast_is_named_before_anything_is_done(tracker, options, masks, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", SIZE)
    with pytest.raises(UserError, match="000000.png has more than 67,108,864 pixels; give a smaller image"):
        process(replace(options, parsing=masks))
    assert tracker.calls == 0 and not options.output.exists()


def test_too_few_masks_are_reported_before_anything_is_done(tracker, options, masks):
    for number in range(9, NUM_FRAMES):
        (masks / f"{number:06d}.png").unlink()
    with pytest.raises(UserError, match="masks holds 9 masks and at least 10 frames are needed; give one mask"):
        process(replace(options, parsing=masks))
    assert tracker.calls == 0 and not options.output.exists()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((SIZE, SIZE), 9, np.uint8), "000009.png has the value 9; masks are 8-bit labels 0 to 4"),
        (None, "no mask in --parsing .*masks has a pixel of head; masks are 8-bit labels"),
    ],
)
def test_what_masks_hold_is_checked_before_tracking(tracker, untracked, options, masks, image, message):
    for number in range(NUM_FRAMES) if image is None else [9]:
        change(masks, number, np.full((SIZE, SIZE), 3, np.uint8) if image is None else image)
    with pytest.raises(UserError, match=message):
        process(replace(options, parsing=masks, on_missing="fail"))


def test_a_mended_input_goes_on_where_the_run_stopped(tracker, options, masks):
    mask = (masks / "000007.png").read_bytes()
    (masks / "000007.png").unlink()
    chosen = replace(options, parsing=masks)
    with pytest.raises(UserError, match="has no mask"):
        process(chosen)
    before, calls = snapshot(options.output / contract.IMAGES), tracker.calls
    (masks / "000007.png").write_bytes(mask)
    process(chosen)
    # Tracking looks at every frame four times; survey and frames are not done again.
    assert snapshot(options.output / contract.IMAGES) == before and tracker.calls - calls == 4 * NUM_FRAMES


def test_a_finished_dataset_survives_masks_that_are_incomplete(tracker, options, masks):
    process(options)
    before = snapshot(options.output)
    (masks / "000007.png").unlink()
    with pytest.raises(UserError, match="has no mask"):
        process(replace(options, parsing=masks))
    assert snapshot(options.output) == before


def test_the_segmenter_is_opened_before_anything_is_done(tracker, options, tmp_path, monkeypatch):
    def refuse(path):
        raise UserError(f"LiteRT cannot run the network in {path}")

    monkeypatch.setattr(input_checks, "MulticlassSegmenter", refuse)
    (tmp_path / "model.tflite").write_bytes(b"....TFL3" + bytes(100))
    with pytest.raises(UserError, match="cannot run the network in .*model.tflite"):
        process(replace(options, segmenter=tmp_path / "model.tflite"))
    assert tracker.calls == 0 and not options.output.exists()


@pytest.mark.parametrize(
    ("rows", "changes", "message"),
    [
        (500, {}, "has 500 rows and no clock, but the clip has 14 frames"),
        (13, {"on_missing": "fail"}, "has 13 rows and no clock, but the clip has 14 frames"),
        (14, {"expressions_fps": 25.0, "expressions_offset": 60.0}, "lasts from 0 to .* s but the clip needs 60.00 to"),
    ],
)
def test_coefficients_that_cannot_cover_the_clip_are_reported_before_tracking(
    tracker, untracked, options, tmp_path, rows, changes, message
):
    np.save(tmp_path / "expr.npy", np.random.default_rng(0).random((rows, 52), np.float32))
    with pytest.raises(UserError, match=message):
        process(replace(options, expressions=tmp_path / "expr.npy", **changes))
    assert finished(options) == ["survey", "frames"]
