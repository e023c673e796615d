import cv2
import numpy as np
import pytest
from drawn_person import drawn_landmarks

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.arrays import save_arrays
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.process_data.labels.label_statistics import LabelStatistics
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.pose.background_motion import BackgroundMotion
from nerfblendshape_ns.process_data.steps import image_steps

NUM_FRAMES, SIZE = 12, 64
SHOT = {
    "width": SIZE,
    "height": SIZE,
    "source_width": SIZE,
    "source_height": SIZE,
    "window": {"left": 0, "top": 0, "width": SIZE, "height": SIZE},
}


def drawn_labels(index):
    labels = np.zeros((SIZE, SIZE), np.uint8)
    left = 18 + index // 8 % 2
    labels[10:40, left : left + 24], labels[40:48, left + 6 : left + 18] = Label.HEAD, Label.NECK
    labels[48:, 8:56] = Label.TORSO
    return labels


@pytest.fixture
def options(tmp_path):
    """A folder in which frames and landmarks are done; frames 2 and 5 of the video were dropped."""
    root = tmp_path / "out"
    wall = np.random.default_rng(0).integers(100, 200, (SIZE, SIZE, 3)).astype(np.uint8)
    for index in range(NUM_FRAMES):
        image = np.where((drawn_labels(index) > 0)[..., None], np.uint8([60, 40, 20]), wall)
        file_io.save_image(root / "images" / contract.image_name(index), image)
    landmarks = np.full((NUM_FRAMES, 478, 3), 30.0, np.float32)
    landmarks[..., :2] = drawn_landmarks((30.0, 26.0), 11.0, 12.0)
    kept = np.setdiff1d(np.arange(NUM_FRAMES + 2), [2, 5])
    save_arrays(root / "tracks_raw.npz", landmarks=landmarks, found=np.ones(NUM_FRAMES, bool), kept_frames=kept)
    save_arrays(root / "frames.npz", numbers=np.arange(NUM_FRAMES + 2) * 2)
    return ProcessOptions(tmp_path / "talk.mp4", root)


def write_masks(folder, change=lambda number, labels: labels):
    """Masks of the video, of which every second frame was used."""
    for number in range(2 * (NUM_FRAMES + 2)):
        file_io.save_image(folder / f"{number}.png", change(number, drawn_labels(number)))
    return folder


def quiet(*_):
    return None


def test_own_masks_win(options, tmp_path, monkeypatch):
    monkeypatch.setattr(image_steps, "iterate_labels", lambda *_, **__: pytest.fail("the segmentation ran"))
    options.parsing = write_masks(tmp_path / "masks")
    summary, warnings = image_steps.segment(options, SHOT, quiet)
    assert summary["source"] == f"your masks in {tmp_path / 'masks'}" and warnings == []
    for image, number in ((0, 0), (2, 6), (4, 12), (11, 26)):
        stored = file_io.load_image(options.output / "parsing" / contract.parsing_name(image), -1)
        np.testing.assert_array_equal(stored, drawn_labels(number))
    per_frame = summary["sections"]["masks"]
    assert len(per_frame["head_change"]) == NUM_FRAMES and per_frame["head_change"][0] == 0


def test_masks_without_any_head_are_refused(options, tmp_path):
    options.parsing = write_masks(
        tmp_path / "masks", lambda _, labels: np.where(labels == 1, 0, labels).astype(np.uint8)
    )
    with pytest.raises(UserError, match=r"no mask in --parsing .*masks has a pixel of head; masks are 8-bit labels 0"):
        image_steps.segment(options, SHOT, quiet)
    assert not (options.output / "parsing").exists()


def test_doubtful_masks_are_named(options, tmp_path):
    def change(number, labels):
        # Images 3 and 9 show the video's frames 8 and 22.
        if number == 8:
            return np.zeros_like(labels)
        return np.where(labels == Label.TORSO, 0, np.roll(labels, 9 * (number == 22), 1)).astype(np.uint8)

    options.parsing = write_masks(tmp_path / "masks", change)
    _, warnings = image_steps.segment(options, SHOT, quiet)
    assert warnings[0].startswith("The head's outline jumps at frames 3-4, 9-10")
    assert warnings[1] == "There is no head in the labels of frame 3."
    assert warnings[2].startswith("Something is before the face in frame 9 (")  # A mask that leaves half of it out.
    assert "Almost no torso was found" in warnings[3]


def test_a_broken_segmentation_goes_on_where_it_was(options, monkeypatch):
    asked = []

    def labels(frames, landmarks, evidence, start=0):
        for index in range(start, NUM_FRAMES):
            asked.append(index)
            yield frames[index], drawn_labels(index)

    def first(frames, landmarks, evidence, start=0):
        for index in range(start, 7):
            yield frames[index], drawn_labels(index)
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(image_steps, "iterate_labels", first)
        with pytest.raises(KeyboardInterrupt):
            image_steps.segment(options, SHOT, quiet)
    monkeypatch.setattr(image_steps, "iterate_labels", labels)
    summary, _ = image_steps.segment(options, SHOT, quiet)
    assert asked == list(range(7, NUM_FRAMES))
    assert len(list((options.output / "parsing").iterdir())) == NUM_FRAMES
    # The statistics are those of the whole clip.
    assert len(summary["sections"]["masks"]["head_change"]) == NUM_FRAMES


def test_plate_and_mattes(options, tmp_path, monkeypatch):
    options.parsing = write_masks(tmp_path / "masks")
    image_steps.segment(options, SHOT, quiet)
    summary, _ = image_steps.background(options, SHOT, quiet)
    seen = file_io.load_image(options.output / "background_seen.png", -1)
    assert summary["never_seen"] == pytest.approx((seen == 0).mean(), abs=1e-4)
    assert 0.2 < summary["never_seen"] < 0.6 and seen[2, 2] == 255 and seen[30, 30] == 0
    summary, _ = image_steps.mattes(options, SHOT, quiet)
    assert 0 < summary["soft_fraction"] < 0.3
    matte = file_io.load_image(options.output / "alpha" / contract.alpha_name(4), -1)
    assert matte[30, 30] == 255 and matte[2, 2] == 0
    # A broken run keeps the mattes that are done.
    written = []
    real = image_steps.person_matte
    monkeypatch.setattr(image_steps, "person_matte", lambda *args: written.append(1) or real(*args))
    with monkeypatch.context() as broken:
        broken.setattr(image_steps, "put_in_place", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            image_steps.mattes(options, SHOT, quiet)
    image_steps.mattes(options, SHOT, quiet)
    assert len(written) == NUM_FRAMES
    options.mattes = False
    assert image_steps.mattes(options, SHOT, quiet) == ({"soft_fraction": None}, [])
    assert not (options.output / "alpha").exists()


def test_wrong_options_are_refused_before_any_work(tmp_path):
    options = ProcessOptions(tmp_path / "talk.mp4", tmp_path / "out", parsing=tmp_path / "masks")
    with pytest.raises(UserError, match=r"--parsing .*masks is not a folder"):
        options.check()
    options = ProcessOptions(tmp_path / "talk.mp4", tmp_path / "out", segmenter=tmp_path / "model.tflite")
    with pytest.raises(UserError, match=r"--segmenter .*model.tflite does not exist"):
        options.check()
    options.parsing = tmp_path
    with pytest.raises(UserError, match="--parsing and --segmenter both say where the masks come from; give one"):
        options.check()


def test_a_head_that_moves_fast_has_no_jumping_outline():
    # Large spots, as a room is not of one colour; all of it moves, by a sixth of the head a frame.
    texture = cv2.GaussianBlur(np.random.default_rng(5).integers(0, 255, (96, 192, 3)).astype(np.uint8), (0, 0), 2)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    statistics = LabelStatistics()
    for shift in (0, 8, 16):
        labels = np.zeros((96, 192), np.uint8)
        labels[20:60, 60 + shift : 108 + shift] = Label.HEAD
        labels[60:] = Label.TORSO
        statistics.add(labels, np.ascontiguousarray(np.roll(texture, shift, axis=1)))
    assert max(statistics.ious["head"]) < image_steps.UNSTEADY_IOU
    assert image_steps.label_warnings(statistics) == []


@pytest.mark.parametrize("jumps, moving", [([40], True), ([], False)])
def test_a_background_that_jumps_is_that_of_a_moving_camera(tmp_path, monkeypatch, jumps, moving):
    motion = BackgroundMotion(np.arange(0, 80, 5), np.zeros((16, 2)), np.ones(16), jumps)
    monkeypatch.setattr(image_steps, "images_and_labels", lambda _: ([None] * 80, None))
    monkeypatch.setattr(image_steps, "measure", lambda *_: motion)
    summary, warnings = image_steps.camera(ProcessOptions(tmp_path, tmp_path), {"fps": 25.0}, lambda *_: None)
    assert summary["sections"]["camera"]["moving"] is moving
    assert [text.partition(",")[0] for text in warnings] == ["The background jumps at frame 40"] * moving
