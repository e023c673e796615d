"""Labels from MediaPipe's multiclass selfie segmentation, where the user has that model.

The model (``selfie_multiclass_256x256.tflite``, 16 MB) has the classes background, hair, body skin, face skin, clothes
and others (accessories). Whether skin and accessories belong to head, neck or torso follows from the face's geometry.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Iterable, Tuple

import cv2
import numpy as np
from scipy.special import softmax

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.process_data.labels.face_layout import FaceGeometry
from nerfblendshape_ns.process_data.labels.label_evidence import LabelEvidence
from nerfblendshape_ns.process_data.networks.litert import Network, stretched

CLASSES = ("background", "hair", "body-skin", "face-skin", "clothes", "others")
BACKGROUND, HAIR, BODY_SKIN, FACE_SKIN, CLOTHES, OTHERS = range(len(CLASSES))
# Skin farther than this below the chin, in face heights, is a chest or an arm, not a neck.
NECK_RANGE = 0.7
# Accessories up to this far below the jaw line, in face heights, are earrings, glasses or a hat; others the torso's.
EARRING_RANGE = 0.35
# Width in face heights over which one label changes into another.
STEP_WIDTH = 0.04


class MulticlassSegmenter:
    """Runs the model.

    Args:
        path: the ``.tflite`` file.

    Raises:
        UserError: the file is missing, is no TensorFlow Lite model or not this one.
    """

    def __init__(self, path: Path) -> None:
        check_model_file(path)
        self._network = Network(path.read_bytes(), path)
        shapes = self._network.output_shapes
        if not self._network.takes_image or len(shapes) != 1 or shapes[0][-1] != len(CLASSES) or len(shapes[0]) != 4:
            raise UserError(
                f"the model {path} gives {' and '.join(str(list(shape)) for shape in shapes)}, not the {len(CLASSES)} "
                f"classes of MediaPipe's multiclass selfie model ({', '.join(CLASSES)}); give --segmenter the file "
                "selfie_multiclass_256x256.tflite."
            )

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Probabilities float32 ``[6, height, width]`` in the order of :data:`CLASSES`, of a uint8 RGB image."""
        (out,) = self._network(stretched(image, *self._network.input_size)).values()
        height, width = image.shape[:2]
        layers = class_probabilities(out[0])
        return np.stack([cv2.resize(layer, (width, height), interpolation=cv2.INTER_LINEAR) for layer in layers])


class MulticlassEvidence(LabelEvidence):
    """Labels from the classes of the multiclass model and the geometry of the face.

    Args:
        segmenter: the network.
    """

    def __init__(self, segmenter: Callable[[np.ndarray], np.ndarray]) -> None:
        self._segmenter = segmenter

    def fit(self, samples: Iterable[Tuple[np.ndarray, FaceGeometry]]) -> None:
        """Nothing to learn: the model knows its classes."""

    def probabilities(self, image: np.ndarray, geometry: FaceGeometry) -> np.ndarray:
        """As :meth:`~.label_evidence.LabelEvidence.probabilities`."""
        return labels_of_classes(self._segmenter(image), geometry)


def labels_of_classes(classes: np.ndarray, geometry: FaceGeometry) -> np.ndarray:
    """Head, neck and torso from the model's classes.

    Hair, wherever it hangs, and the skin of the face are head; skin below the jaw line is neck, but torso where no neck
    can be; accessories are head down to the earrings and torso below.

    Args:
        classes: float32 ``[6, height, width]`` in the order of :data:`CLASSES`.
        geometry: of the face, at the same size.

    Returns:
        float32 ``[4, height, width]``, summing to 1.
    """
    # Soft steps, so that no hard line shows where a class changes from one label to another.
    below_jaw = _soft_step(geometry.below_jaw, 0.0)
    no_neck = np.maximum(_soft_step(geometry.y - geometry.chin, NECK_RANGE), _soft_step(geometry.across, 0.75))
    worn_low = _soft_step(geometry.below_jaw, EARRING_RANGE)
    body, face, others = classes[BODY_SKIN], classes[FACE_SKIN], classes[OTHERS]
    # The model calls the throat face now and then; below the jaw all skin is treated alike.
    skin_below = (body + face) * below_jaw
    head = classes[HAIR] + (body + face) * (1 - below_jaw) + others * (1 - worn_low)
    torso = classes[CLOTHES] + skin_below * no_neck + others * worn_low
    labels = np.stack([classes[BACKGROUND], head, skin_below * (1 - no_neck), torso]).astype(np.float32)
    labels[:, geometry.oval] = 0
    labels[Label.HEAD, geometry.oval] = 1
    return labels / np.maximum(labels.sum(0), 1e-6)


def class_probabilities(out: np.ndarray) -> np.ndarray:
    """The network's output ``[height, width, 6]`` as probabilities float32 ``[6, height, width]``.

    The softmax is applied unless the output is probabilities.
    """
    layers = np.moveaxis(out, -1, 0).astype(np.float32)
    if layers.min() < 0 or np.abs(layers.sum(0) - 1).max() > 0.01:
        layers = softmax(layers, axis=0)
    return layers


def check_model_file(path: Path) -> None:
    """Check that a file is there and is a TensorFlow Lite model, without any library.

    Raises:
        UserError: it is not.
    """
    if not path.is_file():
        raise UserError(f"--segmenter {path} does not exist; give the path of selfie_multiclass_256x256.tflite.")
    with path.open("rb") as file:
        head = file.read(8)
    # A flat buffer's file identifier follows the offset of its root table.
    if head[4:8] != b"TFL3":
        raise UserError(
            f"--segmenter {path} is not a TensorFlow Lite model; give the path of selfie_multiclass_256x256.tflite."
        )


def _soft_step(values: np.ndarray, edge: float) -> np.ndarray:
    """0 well below ``edge``, 1 well above it."""
    return np.clip((values - edge) / STEP_WIDTH + 0.5, 0.0, 1.0).astype(np.float32)
