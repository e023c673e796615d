import numpy as np
import pytest

from nerfblendshape_ns.coefficient_names.arkit import MEDIAPIPE_NAMES
from nerfblendshape_ns.common import parallel
from nerfblendshape_ns.process_data.face import face_track
from nerfblendshape_ns.process_data.face.face_landmarker import Face
from nerfblendshape_ns.process_data.face.face_track import MIRRORED_COEFFICIENTS, NUM_PASSES, Subject, track_face


def test_left_and_right_coefficients_change_places():
    mirrored = [MEDIAPIPE_NAMES[index] for index in MIRRORED_COEFFICIENTS]
    swapped = [name.replace("Left", "*").replace("Right", "Left").replace("*", "Right") for name in MEDIAPIPE_NAMES]
    assert mirrored == swapped and mirrored[0] == "_neutral" and "mouthLeft" in swapped


MIRROR = np.arange(478)


@pytest.fixture(autouse=True)
def no_model(monkeypatch):
    monkeypatch.setattr(face_track, "read_canonical_face", lambda model: None)
    monkeypatch.setattr(face_track, "mirror_permutation", lambda mesh: MIRROR)


def track(frames, folder, done=None, subject=None):
    """A track with nothing kept of earlier ones."""
    folder.mkdir(exist_ok=True)
    return track_face(frames, 25.0, folder, ([] if done is None else done).append, subject or Subject(), folder)


def mirrored_back(frame, points):
    """Points of a frame as a detector gives them that may see a mirrored one, all landmarks alike."""
    if frame[0, 0, 1] > frame[0, -1, 1]:
        points = points * np.float32([-1, 1, 1]) + np.float32([frame.shape[1], 0, 0])
    return points


def frames_of(count):
    """Frames whose red is their number; their green grows to the right."""
    red, green = np.full((4, 4), 1), np.tile(np.arange(4), (4, 1))
    return [np.dstack([number * red, green, green]).astype(np.uint8) for number in range(count)]


class FakeDetector:
    """Sees a dot that moves one pixel a frame, two frames late as a causal tracker does, and nothing in frame 5."""

    def __init__(self, monkeypatch):
        self.calls = []

        def landmarker(model, video, num_faces=1):
            seen = []

            def detect(frame, milliseconds):
                number = int(frame[0, 0, 0])
                self.calls.append(number)
                if number == 5:
                    return []
                seen.append(number)
                late = seen[max(0, len(seen) - 3)]
                points = np.zeros((478, 3), np.float32)
                points[:, 0] = late
                return [Face(mirrored_back(frame, points), np.full(52, late / 100, np.float32))]

            return detect

        monkeypatch.setattr(face_track, "FaceLandmarker", landmarker)


def test_forward_and_backward_passes_cancel_the_lag(monkeypatch, tmp_path):
    FakeDetector(monkeypatch)
    done = []
    found = track(frames_of(20), tmp_path, done)
    assert sum(done) == 20 * NUM_PASSES
    middle = np.arange(8, 16)
    assert np.allclose(found.landmarks[middle, 0, 0], middle)
    assert np.allclose(found.coefficients[middle, 0], middle / 100)
    assert not found.found[5] and found.found.sum() == 19


def test_stretches_with_warm_up_give_what_one_run_gives(monkeypatch, tmp_path):
    FakeDetector(monkeypatch)
    whole = track(frames_of(40), tmp_path / "whole")
    monkeypatch.setattr(face_track, "STRETCH", 8)
    monkeypatch.setattr(face_track, "WARM_UP", 3)
    pieces = track(frames_of(40), tmp_path / "pieces")
    assert np.array_equal(whole.landmarks, pieces.landmarks, equal_nan=True)
    assert np.array_equal(whole.coefficients, pieces.coefficients, equal_nan=True)


def test_a_broken_run_goes_on_with_the_stretch_it_had_reached(monkeypatch, tmp_path):
    detector = FakeDetector(monkeypatch)
    monkeypatch.setattr(parallel, "num_workers", lambda: 2)
    monkeypatch.setattr(face_track, "STRETCH", 8)
    monkeypatch.setattr(face_track, "WARM_UP", 0)
    expected = track(frames_of(40), tmp_path / "expected")
    everything = len(detector.calls)

    class PowerCut(list):
        def __getitem__(self, index):
            if index == 27:
                raise RuntimeError("power cut")
            return super().__getitem__(index)

    store = tmp_path / "store"
    with pytest.raises(RuntimeError):
        track(PowerCut(frames_of(40)), store)
    kept = [f"{first:06d}_{name}.npz" for first in (0, 8, 16) for name in ("backward", "forward")]
    assert sorted(path.name for path in store.iterdir()) == kept
    detector.calls.clear()
    done = []
    resumed = track(frames_of(40), store, done)
    assert min(detector.calls) == 24 and len(detector.calls) == everything * 2 // 5
    assert sum(done) == 40 * NUM_PASSES
    assert np.array_equal(resumed.landmarks, expected.landmarks, equal_nan=True)


def test_the_subject_is_followed_among_several_faces(monkeypatch, tmp_path):
    """Two faces change their order of detection; the subject leaves for a while, and the other is not taken for it."""

    def face(x):
        points = np.zeros((478, 3), np.float32)
        points[:, 0] = x + 20 * np.linspace(-1, 1, 478)
        points[:, 1] = 50 + 30 * np.linspace(-1, 1, 478)
        return points, np.full(52, x / 1000, np.float32)

    def landmarker(model, video, num_faces=1):
        assert num_faces == 2

        def detect(frame, milliseconds):
            number = int(frame[0, 0, 0])
            faces = [face(300.0)] + ([] if 14 <= number < 18 else [face(100.0 + number)])
            return [Face(mirrored_back(frame, points), scores) for points, scores in faces[:: 1 if number % 2 else -1]]

        return detect

    monkeypatch.setattr(face_track, "FaceLandmarker", landmarker)
    boxes = np.tile([85.0, 20, 125, 80], (30, 1))
    found = track(frames_of(30), tmp_path, subject=Subject(2, boxes))
    assert np.flatnonzero(~found.found).tolist() == [14, 15, 16, 17]
    centre = found.landmarks[..., 0].mean(1)
    assert np.allclose(centre[found.found], (100 + np.arange(30.0))[found.found], atol=0.01)


def test_what_is_seen_in_a_part_of_the_image_is_placed_in_the_whole(monkeypatch, tmp_path):
    seen = []

    def landmarker(model, video, num_faces=1):
        def detect(frame, milliseconds):
            seen.append(frame.shape)
            # The brightest pixel of the cut-out is the face.
            row, column = np.unravel_index(frame[..., 0].argmax(), frame.shape[:2])
            points = np.tile(np.array([column + 0.5, row + 0.5, 0], np.float32), (478, 1))
            return [Face(points, np.zeros(52, np.float32))]

        return detect

    monkeypatch.setattr(face_track, "FaceLandmarker", landmarker)
    frame = np.zeros((60, 80, 3), np.uint8)
    frame[25, 47] = 255
    found = track([frame] * 3, tmp_path, subject=Subject(view=(30, 10, 40, 40)))
    assert set(seen) == {(40, 40, 3)}
    assert np.allclose(found.landmarks[:, :, :2], [47.5, 25.5])
