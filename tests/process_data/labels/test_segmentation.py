import cv2
import numpy as np
import pytest
from drawn_person import (
    BACKGROUND,
    CLOTH,
    HAIR,
    HEAD,
    NECK,
    TORSO,
    DrawnPersonMask,
    HeadAndShouldersMask,
    dark_shirt,
    drawn_landmarks,
    drawn_person,
    earrings,
    long_hair,
    pigtails,
    strands,
)

from nerfblendshape_ns.common import parallel
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.process_data.face.face_landmarker import FaceLandmarker
from nerfblendshape_ns.process_data.labels.face_layout import FACE_OVAL
from nerfblendshape_ns.process_data.labels.label_evidence import ClipEvidence
from nerfblendshape_ns.process_data.labels.label_statistics import LabelStatistics
from nerfblendshape_ns.process_data.labels.person_mask import PersonMask
from nerfblendshape_ns.process_data.labels.segmentation import iterate_labels


def labelled(frames, landmarks, person_mask=None, start=0):
    evidence = ClipEvidence(person_mask or DrawnPersonMask())
    return np.stack([labels for _, labels in iterate_labels(frames, landmarks, evidence, start)])


def test_drawn_person_gets_the_right_labels(drawn_clip):
    frames, landmarks, truth = drawn_clip
    labels = labelled(frames, landmarks)
    assert labels.dtype == np.uint8 and labels.shape == truth.shape
    for label, bound in ((BACKGROUND, 0.97), (HEAD, 0.95), (NECK, 0.75), (TORSO, 0.9)):
        mine, wanted = labels == label, truth == label
        assert (mine & wanted).sum() / (mine | wanted).sum() > bound, Label(label).name


def test_shirt_in_the_colour_of_the_hair_is_not_head():
    landmarks = np.stack([drawn_landmarks((64.0 + i % 3, 50.0)) for i in range(6)])
    drawn = [drawn_person(points, collar_colour=HAIR) for points in landmarks]
    labels = labelled([image for image, _ in drawn], landmarks)
    shirt = np.stack([truth for _, truth in drawn]) == TORSO
    assert (labels[shirt] == HEAD).mean() < 0.01
    assert (labels[shirt] == TORSO).mean() > 0.9


@pytest.mark.parametrize("network", [DrawnPersonMask, HeadAndShouldersMask])
@pytest.mark.parametrize(
    "wear, collar_colour, least",
    [
        (dark_shirt, CLOTH, 0.9),
        (strands, CLOTH, 0.7),
        (pigtails, CLOTH, 0.9),
        (earrings, CLOTH, 0.9),
        (long_hair, CLOTH, 0.9),
        (long_hair, (28, 27, 30), 0.9),
    ],
)
def test_what_a_person_wears_has_one_label(wear, collar_colour, least, network):
    landmarks = np.stack([drawn_landmarks((64.0 + i % 3, 50.0)) for i in range(6)])
    bare = np.stack([drawn_person(points, collar_colour=collar_colour)[0] for points in landmarks])
    worn = [drawn_person(points, collar_colour=collar_colour, wear=wear) for points in landmarks]
    frames, truth = (np.stack(images) for images in zip(*worn))
    labels = labelled(frames, landmarks, network())
    worn_pixels = np.abs(frames.astype(int) - bare).max(-1) > 40
    assert (labels == truth)[worn_pixels].mean() > least
    assert (labels == truth)[~worn_pixels].mean() > 0.97


def test_a_later_start_gives_the_same_labels(drawn_clip):
    frames, landmarks, _ = drawn_clip
    whole = labelled(frames, landmarks)
    rest = labelled(frames, landmarks, start=6)
    np.testing.assert_array_equal(rest, whole[6:])


def test_labels_do_not_depend_on_the_number_of_threads(drawn_clip, monkeypatch):
    frames, landmarks, _ = drawn_clip
    found = []
    for workers in (1, 3):
        monkeypatch.setattr(parallel, "num_workers", lambda workers=workers: workers)
        found.append(labelled(frames, landmarks))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("name", ["plain_216f_30fps", "longhair_200f_25fps"])
def test_real_clip_is_steady(name, clips_folder, landmarker_path, person_mask_path):
    capture = cv2.VideoCapture(str(clips_folder / f"{name}.mp4"))
    frames = []
    for _ in range(24):
        read, image = capture.read()
        assert read
        frames.append(np.ascontiguousarray(image[..., ::-1]))
    capture.release()
    landmarker = FaceLandmarker(landmarker_path)
    tracked = np.stack([landmarker(frame)[0].landmarks[:, :2] for frame in frames])
    clip_labels = labelled(frames, tracked, PersonMask(person_mask_path))
    statistics = LabelStatistics()
    for labels, frame in zip(clip_labels, frames):
        statistics.add(labels, frame)
    mean, least = statistics.summary()["iou"]["head"]
    assert mean > 0.98 and least > 0.93
    for labels, points in zip(clip_labels, tracked):
        outline = points[list(FACE_OVAL)]
        inside = points.mean(0) + 0.9 * (outline - points.mean(0))
        rows = np.clip(inside[:, 1].astype(int), 0, labels.shape[0] - 1)
        columns = np.clip(inside[:, 0].astype(int), 0, labels.shape[1] - 1)
        assert (labels[rows, columns] == HEAD).all()
        pieces, _ = cv2.connectedComponents((labels == HEAD).astype(np.uint8), connectivity=4)
        assert pieces == 2  # the rest of the image and one head
