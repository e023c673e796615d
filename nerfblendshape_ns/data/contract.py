"""The dataset directory: file names, labels and what its documents hold.

``nbs-process-data`` and ``nbs-synthetic`` write this layout, the dataparser reads it first. Head space is right-handed,
in centimetres for tracked clips: x to the image's right for a face that looks at the camera, y up, z out of the face.
Poses are camera-to-head in OpenGL axes (x right, y up, the camera looks along -z), which is nerfstudio's convention.
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError

TRANSFORMS = "transforms.json"
EXPRESSIONS = "expr.npy"
EXPRESSION_MIN = "expr_min.npy"
EXPRESSION_MAX = "expr_max.npy"
EXPRESSION_NAMES = "expr_names.json"
IMAGES = "images"
PARSING = "parsing"
ALPHA = "alpha"
TORSO_IMAGES = "torso_imgs"
FRAME_TIMES = "frame_times.npy"
BACKGROUND = "background.png"
LANDMARKS = "landmarks.npy"
FACE_MESH = "face_mesh.npy"
PROCESS = "process.json"
REPORT = "report"

MESH_POINTS = 468
"""Vertices of MediaPipe's face mesh."""
MEDIAPIPE_POINTS = (MESH_POINTS, 478)
"""Numbers of landmarks that MediaPipe gives: without and with the irises."""

# Outlines in MediaPipe's 478-landmark numbering; left and right are the person's.
LIP_LANDMARKS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
RIGHT_EYE_LANDMARKS = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
LEFT_EYE_LANDMARKS = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
IRIS_LANDMARKS = (468, 473)
"""Middles of the right and of the left iris."""


class Label(IntEnum):
    """Values of the 8-bit images in ``parsing/``."""

    BACKGROUND = 0
    HEAD = 1
    NECK = 2
    TORSO = 3
    OCCLUDED = 4
    """Something before the face (a hand, a microphone): the head is there, and what it looks like is unknown."""


def image_name(img_id: int) -> str:
    """File name of a frame inside ``images/``."""
    return f"{img_id:06d}.jpg"


def parsing_name(img_id: int) -> str:
    """File name of a frame's labels inside ``parsing/``."""
    return f"{img_id:06d}.png"


def alpha_name(img_id: int) -> str:
    """File name inside ``alpha/`` of a frame's matte: 8-bit, 255 where only the person is seen, 0 where none of it."""
    return f"{img_id:06d}.png"


def default_test_frames(num_frames: int) -> int:
    """Number of frames at the end of a clip that are kept for testing: 500, or 10 % of a clip under 2,500 frames."""
    return 500 if num_frames >= 2500 else max(1, num_frames // 10)


def save_expressions(root: Path, expressions: np.ndarray, names: list, basis: str) -> None:
    """Write ``expr.npy``, the range of its training frames and ``expr_names.json``.

    Args:
        root: the dataset directory.
        expressions: ``[num_frames, basis]``; row = ``img_id``; neutral is 0.
        names: one name for each coefficient.
        basis: the basis id: ``arkit52``, ``flame``, ``custom`` or another of ``docs/data.md``.
    """
    if len(names) != expressions.shape[1]:
        raise UserError(f"{len(names)} coefficient names were given for {expressions.shape[1]} coefficients.")
    expressions = expressions.astype(np.float32)
    train = expressions[: max(1, len(expressions) - default_test_frames(len(expressions)))]
    file_io.save_array(root / EXPRESSIONS, expressions)
    file_io.save_array(root / EXPRESSION_MIN, train.min(0))
    file_io.save_array(root / EXPRESSION_MAX, train.max(0))
    file_io.save_json(root / EXPRESSION_NAMES, {"basis": basis, "names": list(names)})


def save_transforms(
    root: Path,
    *,
    width: int,
    height: int,
    fl_x: float,
    fl_y: float,
    cx: float,
    cy: float,
    fps: float,
    frames: list,
    extra: Optional[Mapping[str, Any]] = None,
) -> None:
    """Write ``transforms.json``.

    Args:
        root: the dataset directory.
        width: image width in pixels.
        height: image height in pixels.
        fl_x: horizontal focal length in pixels.
        fl_y: vertical focal length in pixels.
        cx: principal point, pixels from the left edge.
        cy: principal point, pixels from the top edge.
        fps: frames per second of the clip.
        frames: dictionaries from :func:`frame_entry`.
        extra: further entries of the document; ``head_only`` says that the images show the head alone.
    """
    document: Dict[str, Any] = {
        "camera_model": "OPENCV",
        "w": int(width),
        "h": int(height),
        "fl_x": float(fl_x),
        "fl_y": float(fl_y),
        "cx": float(cx),
        "cy": float(cy),
        "fps": float(fps),
        **(extra or {}),
        "frames": frames,
    }
    file_io.save_json(root / TRANSFORMS, document)


def frame_entry(img_id: int, camera_to_head: np.ndarray, landmarks: np.ndarray) -> Dict[str, Any]:
    """One element of ``frames`` in ``transforms.json``.

    Args:
        img_id: row of ``expr.npy`` and ``landmarks.npy``, number of the image file.
        camera_to_head: ``[4, 4]`` OpenGL camera-to-head matrix.
        landmarks: ``[478, 2]`` pixels in MediaPipe's order; gives the rectangles of face, lips and eyes.
    """
    return {
        "file_path": f"{IMAGES}/{image_name(img_id)}",
        "img_id": int(img_id),
        "transform_matrix": np.asarray(camera_to_head, dtype=np.float64).tolist(),
        "face_rect": landmark_rect(landmarks[:MESH_POINTS]),
        "lip_rect": landmark_rect(landmarks[list(LIP_LANDMARKS)], margin=0.15),
        "eye_rects": [
            landmark_rect(landmarks[list(LEFT_EYE_LANDMARKS)], margin=0.3),
            landmark_rect(landmarks[list(RIGHT_EYE_LANDMARKS)], margin=0.3),
        ],
    }


def landmark_rect(points: np.ndarray, margin: float = 0.0) -> list:
    """Bounding rectangle ``[x, y, width, height]`` in whole pixels, grown by ``margin`` of its size on each side."""
    low, high = points.min(0), points.max(0)
    grow = (high - low) * margin
    low, high = np.floor(low - grow), np.ceil(high + grow)
    return [int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])]
