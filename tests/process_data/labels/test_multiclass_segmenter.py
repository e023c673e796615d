import sys
from pathlib import Path

import numpy as np
import pytest
from drawn_person import HEAD, NECK, TORSO, drawn_landmarks

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.process_data.labels import multiclass_segmenter as segmenter
from nerfblendshape_ns.process_data.labels.face_layout import HeadFrame, face_geometry
from nerfblendshape_ns.process_data.labels.multiclass_segmenter import (
    BACKGROUND,
    BODY_SKIN,
    CLASSES,
    CLOTHES,
    FACE_SKIN,
    HAIR,
    OTHERS,
    MediaPipeSegmenter,
    MulticlassEvidence,
)
from nerfblendshape_ns.process_data.labels.segmentation import iterate_labels


class DrawnClasses:
    """Stands for the network: says what the drawn person is made of, with a little doubt."""

    def __init__(self, truth):
        self.truth = truth
        self.closed = False

    def __call__(self, image):
        size = image.shape[:2]
        nearest = np.abs(self.truth["colours"][None] - image.reshape(-1, 1, 3).astype(int)).sum(-1).argmin(1)
        classes = np.full((len(CLASSES), *size), 0.02, np.float32)
        chosen = self.truth["classes"][nearest].reshape(size)
        np.put_along_axis(classes, chosen[None], 0.9, axis=0)
        return classes

    def close(self):
        self.closed = True


def layout(landmarks):
    return face_geometry(HeadFrame(landmarks[None]), 0, landmarks, 128, 128, 1.0)


def test_skin_is_head_neck_or_torso_by_where_it_is():
    landmarks = drawn_landmarks()
    classes = np.zeros((len(CLASSES), 128, 128), np.float32)
    classes[BACKGROUND] = 1
    for region, kind in (
        ((slice(20, 76), slice(44, 84)), FACE_SKIN),
        ((slice(76, 100), slice(54, 74)), BODY_SKIN),
        ((slice(120, 128), slice(40, 90)), BODY_SKIN),  # a bare chest
        ((slice(100, 120), slice(20, 108)), CLOTHES),
        ((slice(10, 125), slice(30, 40)), HAIR),  # down over the shoulder
        ((slice(56, 62), slice(84, 90)), OTHERS),  # an earring
        ((slice(104, 110), slice(60, 66)), OTHERS),  # a brooch
    ):
        classes[(slice(None), *region)] = 0
        classes[(kind, *region)] = 1
    labels = segmenter.labels_of_classes(classes, layout(landmarks))
    np.testing.assert_allclose(labels.sum(0), 1, atol=1e-5)
    best = labels.argmax(0)
    for place, label in (
        ((50, 64), HEAD),
        ((85, 64), NECK),
        ((124, 64), TORSO),
        ((110, 100), TORSO),
        ((60, 35), HEAD),
        ((115, 35), HEAD),
        ((59, 87), HEAD),
        ((107, 63), TORSO),
        ((5, 5), int(Label.BACKGROUND)),
    ):
        assert best[place] == label, place


def test_the_model_takes_the_place_of_the_clip_model(drawn_clip):
    frames, landmarks, truth = drawn_clip
    colours = np.array([(150, 190, 160), (60, 40, 25), (205, 150, 130), (40, 60, 140)])
    network = DrawnClasses({"colours": colours, "classes": np.array([BACKGROUND, HAIR, BODY_SKIN, CLOTHES])})
    labels = np.stack(list(iterate_labels(frames, landmarks, evidence=MulticlassEvidence(network))))
    assert network.closed
    for label, bound in ((HEAD, 0.93), (NECK, 0.7), (TORSO, 0.9)):
        mine, wanted = labels == label, truth == label
        assert (mine & wanted).sum() / (mine | wanted).sum() > bound, Label(label).name


def test_wrong_models_have_their_own_messages(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"--segmenter .*none.tflite does not exist; give the path of selfie_multi"):
        MediaPipeSegmenter(tmp_path / "none.tflite")
    (tmp_path / "page.tflite").write_text("<html>not found</html>")
    with pytest.raises(UserError, match=r"page.tflite is not a TensorFlow Lite model; give the path of selfie_multi"):
        MediaPipeSegmenter(tmp_path / "page.tflite")
    path = Path("some.tflite")
    with pytest.raises(UserError, match=r"some.tflite has 2 classes, not the 6 of MediaPipe's multiclass selfie model"):
        segmenter.stack_masks([np.zeros((4, 4))] * 2, (4, 4), path)
    with pytest.raises(UserError, match=r"some.tflite gave a mask of 5x4 for an image of 4x4"):
        segmenter.stack_masks([np.zeros((4, 5))] * 6, (4, 4), path)
    assert segmenter.stack_masks([np.full((4, 4, 1), 1.5)] * 6, (4, 4), path).max() == 1
    (tmp_path / "empty.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(64))
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(UserError, match=r"--segmenter needs MediaPipe 0.10.9; install this package with the extra"):
        MediaPipeSegmenter(tmp_path / "empty.tflite")


def test_a_model_that_mediapipe_cannot_use_is_named(tmp_path):
    mediapipe = pytest.importorskip("mediapipe")
    bundled = Path(mediapipe.__file__).parent / "modules" / "selfie_segmentation" / "selfie_segmentation.tflite"
    if not bundled.is_file():
        pytest.skip("this MediaPipe bundles no model")
    # The person mask is a segmenter too, and runs, but it does not tell hair from skin.
    with pytest.raises(UserError, match=r"selfie_segmentation.tflite has 1 classes, not the 6 of MediaPipe's"):
        MediaPipeSegmenter(bundled)
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(bundled.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"MediaPipe cannot use .*broken.tflite as an image segmenter \(.*give --segm"):
        MediaPipeSegmenter(broken)


def test_the_network_gives_masks_of_the_image_s_size(monkeypatch):
    mediapipe = pytest.importorskip("mediapipe")
    bundled = Path(mediapipe.__file__).parent / "modules" / "selfie_segmentation" / "selfie_segmentation.tflite"
    if not bundled.is_file():
        pytest.skip("this MediaPipe bundles no model")
    monkeypatch.setattr(segmenter, "CLASSES", ("person",))
    network = MediaPipeSegmenter(bundled)
    masks = network(np.zeros((60, 80, 3), np.uint8))
    network.close()
    assert masks.shape == (1, 60, 80) and masks.dtype == np.float32
