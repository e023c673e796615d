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
    MulticlassEvidence,
    MulticlassSegmenter,
)
from nerfblendshape_ns.process_data.labels.segmentation import iterate_labels


class DrawnClasses:
    """Stands for the network: says what the drawn person is made of, with a little doubt."""

    def __init__(self, truth):
        self.truth = truth

    def __call__(self, image):
        size = image.shape[:2]
        nearest = np.abs(self.truth["colours"][None] - image.reshape(-1, 1, 3).astype(int)).sum(-1).argmin(1)
        classes = np.full((len(CLASSES), *size), 0.02, np.float32)
        chosen = self.truth["classes"][nearest].reshape(size)
        np.put_along_axis(classes, chosen[None], 0.9, axis=0)
        return classes


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
    labels = np.stack([labels for _, labels in iterate_labels(frames, landmarks, MulticlassEvidence(network))])
    for label, bound in ((HEAD, 0.93), (NECK, 0.7), (TORSO, 0.9)):
        mine, wanted = labels == label, truth == label
        assert (mine & wanted).sum() / (mine | wanted).sum() > bound, Label(label).name


def test_wrong_files_have_their_own_messages(tmp_path):
    with pytest.raises(UserError, match=r"--segmenter .*none.tflite does not exist; give the path of selfie_mult"):
        MulticlassSegmenter(tmp_path / "none.tflite")
    (tmp_path / "page.tflite").write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match=r"--segmenter .*page.tflite is not a TensorFlow Lite model"):
        MulticlassSegmenter(tmp_path / "page.tflite")
    (tmp_path / "broken.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(64))
    with pytest.raises(UserError, match=r"LiteRT cannot run the network in .*broken.tflite \(.*give the right file"):
        MulticlassSegmenter(tmp_path / "broken.tflite")


def test_a_network_with_other_outputs_is_refused(person_mask_path):
    # The person mask is a segmenter too, and runs, but it does not tell hair from skin.
    expected = r"gives \[1, 256, 256, 1\], not the 6 classes of MediaPipe's multiclass selfie model \(background, hair"
    with pytest.raises(UserError, match=expected):
        MulticlassSegmenter(person_mask_path)


def test_the_network_gives_probabilities_of_the_image_s_size(monkeypatch, person_mask_path):
    monkeypatch.setattr(segmenter, "CLASSES", ("person",))
    layers = MulticlassSegmenter(person_mask_path)(np.zeros((60, 80, 3), np.uint8))
    assert layers.shape == (1, 60, 80) and layers.dtype == np.float32


def test_outputs_become_probabilities_with_the_softmax_in_the_network_or_without():
    logits = np.random.default_rng(0).normal(0, 3, (4, 5, 6)).astype(np.float32)
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    for out in (logits, expected):
        np.testing.assert_allclose(segmenter.class_probabilities(out), np.moveaxis(expected, -1, 0), atol=1e-6)
