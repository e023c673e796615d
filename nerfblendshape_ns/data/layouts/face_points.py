"""Landmarks and face meshes of a dataset: read by MediaPipe's vertex numbers, so points of another scheme are kept out.

Vertex 152 is the chin only among the 468 vertices of MediaPipe's face mesh (478 with the irises). The same number among
the 68 landmarks of Multi-PIE does not exist, and among the 5,023 vertices of FLAME it lies somewhere else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Tuple

import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.contract import MEDIAPIPE_POINTS, MESH_POINTS


def read_landmarks(root: Path) -> Tuple[Optional[np.ndarray], Optional[str]]:
    """The landmarks in ``landmarks.npy`` and, where they are of another scheme than MediaPipe's, a note on that.

    Args:
        root: the dataset directory.

    Returns:
        ``[rows, points, 2 or more]`` pixels, whatever their scheme (see :func:`mediapipe_only`), or None where there is
        no such file; a sentence for the user, or None.

    Raises:
        UserError: the file holds no numbers of this shape.
    """
    path = root / contract.LANDMARKS
    if not path.exists():
        return None, None
    landmarks = file_io.load_array(path)
    if landmarks.ndim != 3 or landmarks.shape[2] < 2 or not landmarks.size or landmarks.dtype.kind not in "fiu":
        raise UserError(
            f"{path} holds {landmarks.dtype} of shape {landmarks.shape}, not numbers of shape [frames, points, 2]; "
            "process the video again or remove the file."
        )
    if landmarks.shape[1] in MEDIAPIPE_POINTS:
        return landmarks, None
    return landmarks, (
        f"{path}: {landmarks.shape[1]} landmarks per frame are not MediaPipe's 468 or 478, so they are left out and "
        "the head trains without face motion."
    )


def mediapipe_only(landmarks: Optional[np.ndarray]) -> Optional[np.ndarray]:
    """``[frames, 468 or 478, 2]`` pixels of landmarks ``[frames, points, 2 or more]``; None for those of others."""
    if landmarks is None or landmarks.shape[1] not in MEDIAPIPE_POINTS:
        return None
    return landmarks[..., :2]


def read_mesh(root: Path) -> Optional[np.ndarray]:
    """The face mesh in ``face_mesh.npy``, float64 ``[468, 3]`` in head space; None where there is no such file.

    Raises:
        UserError: the file holds another mesh than MediaPipe's, or no finite numbers.
    """
    path = root / contract.FACE_MESH
    if not path.exists():
        return None
    mesh = file_io.load_array(path)
    if mesh.dtype.kind not in "fiu" or mesh.ndim != 2 or mesh.shape[1] != 3 or not np.isfinite(mesh).all():
        raise UserError(
            f"{path} is not a finite array of numbers of shape [468, 3]; process the video again or remove the file."
        )
    if len(mesh) not in MEDIAPIPE_POINTS:
        raise UserError(
            f"{path} has {len(mesh)} vertices, not the 468 of MediaPipe's face mesh by whose numbers it is read; save "
            "the face with MediaPipe's vertices or remove the file."
        )
    return mesh[:MESH_POINTS].astype(np.float64)
