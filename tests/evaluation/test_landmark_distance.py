"""Landmark distance: by hand with landmarks that are given, and with the Face Landmarker on faces."""

import math

import numpy as np
import pytest
import torch
from made_pictures import blurred
from video_files import shared_folder

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.evaluation import landmark_distance
from nerfblendshape_ns.evaluation.landmark_distance import LandmarkDistance
from nerfblendshape_ns.process_data.face.face_landmarker import Face

CLIP = shared_folder() / "clips" / "plain_216f_30fps.mp4"


class GivenLandmarks:
    """A detector that gives the next of a list, and remembers what it was shown."""

    def __init__(self, *landmarks):
        self.landmarks, self.shown = list(landmarks), []

    def __call__(self, frame, milliseconds=0):
        self.shown.append(frame)
        found = self.landmarks.pop(0)
        return [] if found is None else [Face(found, np.zeros(52, np.float32))]


def face() -> np.ndarray:
    points = np.zeros((478, 3), np.float32)
    points[33, :2], points[263, :2] = (100, 80), (140, 110)  # 50 pixels apart.
    return points


def measured(render, truth, size=(256, 256)):
    image = torch.zeros(*size, 3)
    return LandmarkDistance(GivenLandmarks(render, truth))(image, image)


def test_a_shift_by_k_pixels():
    truth = face()
    shifted = truth + np.array([3.0, 4.0, 100.0], np.float32)  # Depth is no part of it.
    assert measured(shifted, truth) == pytest.approx({"landmarks": 10.0, "lids": 10.0, "irises": 10.0})
    assert measured(truth, truth) == {"landmarks": 0.0, "lids": 0.0, "irises": 0.0}


def test_lids_and_irises_apart():
    truth = face()
    iris, lid = truth.copy(), truth.copy()
    iris[468:473, 0] += 5.0  # One of two irises, 10 %.
    assert measured(iris, truth) == pytest.approx({"landmarks": 0.0, "lids": 0.0, "irises": 5.0})
    lid[[159, 145, 386, 374], 1] += 5.0  # Middles of the lids, 4 of 32 points.
    found = measured(lid, truth)
    assert found == pytest.approx({"landmarks": 10 * 4 / 468, "lids": 10 * 4 / 32, "irises": 0.0})


@pytest.mark.parametrize("render, truth", [(None, face()), (face(), None), (None, None)])
def test_no_face_gives_no_distance(render, truth):
    found = measured(render, truth)
    assert set(found) == {"landmarks", "lids", "irises"} and all(math.isnan(value) for value in found.values())


@pytest.mark.parametrize("size, shown", [((128, 160), (256, 320)), ((100, 100), (256, 256)), ((300, 400), (300, 400))])
def test_small_images_are_enlarged(size, shown):
    detector = GivenLandmarks(face(), face())
    LandmarkDistance(detector)(torch.full((*size, 3), 0.5), torch.full((*size, 3), 1.0))
    assert [frame.shape for frame in detector.shown] == [(*shown, 3)] * 2
    assert [frame.dtype for frame in detector.shown] == [np.uint8] * 2
    assert [int(frame.mean()) for frame in detector.shown] == [128, 255]


def test_what_is_missing_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("NBS_FACE_LANDMARKER", str(tmp_path / "none.task"))
    with pytest.raises(UserError, match="given by NBS_FACE_LANDMARKER, does not exist"):
        LandmarkDistance.find()
    monkeypatch.delenv("NBS_FACE_LANDMARKER")
    monkeypatch.setenv("NBS_CACHE", str(tmp_path))
    monkeypatch.setenv("NBS_OFFLINE", "1")
    reason = LandmarkDistance.find()
    assert isinstance(reason, str) and reason.startswith("the Face Landmarker model could not be fetched (it is not in")


@pytest.fixture(scope="module")
def distance(landmarker_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NBS_FACE_LANDMARKER", str(landmarker_path))
        found = LandmarkDistance.find()
    assert isinstance(found, LandmarkDistance)
    return found


def check_on_a_face(distance: LandmarkDistance, image: torch.Tensor) -> None:
    """A face ``[256, 256, 3]``: shifts are found, noise hardly counts, without the face there is no distance."""
    assert distance(image, image) == {"landmarks": 0.0, "lids": 0.0, "irises": 0.0}
    points = distance._landmarks(image)
    assert points is not None
    for shift in (2, 6):
        moved = torch.cat([image[:, :1].expand(-1, shift, -1), image[:, :-shift]], 1)
        percent = 100 * shift / np.linalg.norm(points[33] - points[263])
        assert distance(moved, image) == pytest.approx(dict.fromkeys(landmark_distance.GROUPS, percent), abs=1.0)
    noise = 0.02 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    for render in (image + noise, blurred(image, 1.0)):
        assert max(distance(render, image).values()) < 1.5
    covered = image.clone()
    (left, top), (right, bottom) = points.min(0).astype(int) - 20, points.max(0).astype(int) + 20
    covered[max(top, 0) : bottom, max(left, 0) : right] = 1.0
    for pair in ((covered, image), (image, covered)):
        assert all(math.isnan(value) for value in distance(*pair).values())


def test_on_the_synthetic_head(distance):
    from nerfblendshape_ns.synthetic.camera import camera_to_head, default_intrinsics
    from nerfblendshape_ns.synthetic.head import synthetic_head
    from nerfblendshape_ns.synthetic.motion import talking_motion

    motion = talking_motion(40, 5.0, 0)
    pose = camera_to_head(motion.head_to_world)[10]
    frame = synthetic_head(0).render(motion.expressions[10], pose, default_intrinsics(256, 256))
    check_on_a_face(distance, torch.from_numpy(frame.image).float() / 255)


def test_on_a_real_face(distance):
    if not CLIP.exists():
        pytest.skip("the clip is not in ../shared/clips")
    import cv2

    frame = cv2.VideoCapture(str(CLIP)).read()[1][..., ::-1]
    side = min(frame.shape[:2])
    top, left = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
    square = np.ascontiguousarray(frame[top : top + side, left : left + side])
    image = torch.from_numpy(cv2.resize(square, (256, 256), interpolation=cv2.INTER_AREA)).float() / 255
    check_on_a_face(distance, image)


def test_a_machine_without_litert_has_no_distance(monkeypatch, landmarker_path):
    def refuse(model):
        raise UserError("LiteRT cannot be imported.")

    monkeypatch.setenv("NBS_FACE_LANDMARKER", str(landmarker_path))
    monkeypatch.setattr(landmark_distance, "FaceLandmarker", refuse)
    assert LandmarkDistance.find() == "LiteRT cannot be imported."
