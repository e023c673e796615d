"""MediaPipe's face topology: the canonical mesh inside the model file, and the landmarks that hardly move."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nerfblendshape_ns.common.errors import UserError

NUM_MESH_LANDMARKS = 468
NUM_LANDMARKS = 478
METADATA_MEMBER = "geometry_pipeline_metadata_landmarks.binarypb"

# Forehead, temples, nose bridge and tip, eye corners and the sides of the face: they move least with expression.
RIGID_LANDMARKS = np.array(
    # fmt: off
    [
        1,
        2,
        4,
        5,
        6,
        8,
        9,
        10,
        21,
        33,
        50,
        54,
        98,
        108,
        109,
        116,
        123,
        127,
        129,
        133,
        151,
        162,
        168,
        195,
        197,
        227,
        234,
        251,
        263,
        280,
        284,
        297,
        327,
        332,
        337,
        338,
        345,
        346,
        352,
        356,
        358,
        362,
        389,
        447,
        454,
        103,
        67,
        117,
    ]
    # fmt: on
)
# Mirror images of the ten iris landmarks 468..477: centre, then four points round it, of the right and the left eye.
IRIS_MIRROR = np.array([473, 476, 475, 474, 477, 468, 471, 470, 469, 472])
# Outer eye corners (person's right and left), forehead top and chin: enough to fix orientation and scale of a mesh.
RIGHT_EYE_CORNER, LEFT_EYE_CORNER, FOREHEAD_TOP, CHIN = 33, 263, 10, 152
# Typical distance between the outer eye corners of an adult in centimetres, as in MediaPipe's canonical mesh.
EYE_CORNER_DISTANCE = 8.9


@dataclass(frozen=True)
class CanonicalFace:
    """A reference face: x to the image's right for a frontal face, y up, z out of the face, centimetres."""

    vertices: np.ndarray
    """float64 ``[468, 3]``."""


def read_canonical_face(landmarker: Path) -> CanonicalFace:
    """Read the canonical mesh from the geometry metadata inside a ``face_landmarker.task`` file.

    Raises:
        UserError: the file holds no such metadata.
    """
    from mediapipe.modules.face_geometry.protos import geometry_pipeline_metadata_pb2

    # Generated classes declare their fields at run time only.
    metadata: Any = geometry_pipeline_metadata_pb2.GeometryPipelineMetadata()
    try:
        with zipfile.ZipFile(landmarker) as archive:
            metadata.ParseFromString(archive.read(METADATA_MEMBER))
    except (KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{landmarker} holds no canonical face mesh ({error}); fetch the model again.") from error
    # The vertex type of this mesh is position (3) and texture coordinate (2).
    vertices = np.array(metadata.canonical_mesh.vertex_buffer, dtype=np.float64).reshape(-1, 5)[:, :3]
    return CanonicalFace(vertices)


def face_from_landmarks(landmarks: np.ndarray) -> CanonicalFace:
    """A reference face from the clip's own 3D landmarks, for use without a model file.

    The landmarks of every frame are similarity-aligned (Umeyama 1991) on the rigid set and averaged three times; the
    mean is turned upright and scaled so that the outer eye corners are as far apart as in MediaPipe's canonical mesh.

    Args:
        landmarks: ``[frames, 468 or more, 3]`` pixels (x right, y down, z away from the camera, same scale as x).
    """
    points = landmarks[:, :NUM_MESH_LANDMARKS].astype(np.float64) * np.array([1.0, -1.0, -1.0])
    reference = points[len(points) // 2]
    for _ in range(3):
        aligned = [align_similarity(frame, reference, RIGID_LANDMARKS) for frame in points]
        reference = np.mean(aligned, axis=0)
    return CanonicalFace(_upright(reference))


def similarity(source: np.ndarray, target: np.ndarray) -> tuple:
    """Least-squares similarity from ``source`` to ``target`` (Umeyama, "Least-squares estimation of transformation
    parameters between two point patterns", 1991).

    Args:
        source: ``[points, 3]``.
        target: ``[points, 3]``.

    Returns:
        ``(scale, rotation [3, 3], translation [3])`` with ``target ≈ scale * source @ rotation.T + translation``.
    """
    source_mean, target_mean = source.mean(0), target.mean(0)
    covariance = (target - target_mean).T @ (source - source_mean)
    left, values, right = np.linalg.svd(covariance)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = left @ np.diag(signs) @ right
    scale = float((values * signs).sum() / ((source - source_mean) ** 2).sum())
    return scale, rotation, target_mean - scale * rotation @ source_mean


def align_similarity(points: np.ndarray, reference: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Move ``points`` by the similarity that brings ``points[indices]`` onto ``reference[indices]``."""
    scale, rotation, translation = similarity(points[indices], reference[indices])
    return scale * points @ rotation.T + translation


def _upright(vertices: np.ndarray) -> np.ndarray:
    right = vertices[LEFT_EYE_CORNER] - vertices[RIGHT_EYE_CORNER]
    scale = EYE_CORNER_DISTANCE / float(np.linalg.norm(right))
    right = right / np.linalg.norm(right)
    up = vertices[FOREHEAD_TOP] - vertices[CHIN]
    up = up - right * (up @ right)
    up = up / np.linalg.norm(up)
    axes = np.stack([right, up, np.cross(right, up)])
    middle = vertices[RIGID_LANDMARKS].mean(0)
    return (vertices - middle) @ axes.T * scale


def mirror_permutation(vertices: np.ndarray) -> np.ndarray:
    """Which landmark each landmark becomes in a mirrored picture.

    Args:
        vertices: the canonical mesh ``[468, 3]``, symmetric about x = 0.

    Returns:
        int ``[478]``: ``mirrored[permutation]`` are the landmarks in the usual order.
    """
    distances = np.linalg.norm(vertices[:, None] * np.array([-1.0, 1.0, 1.0]) - vertices[None], axis=-1)
    return np.concatenate([distances.argmin(1), IRIS_MIRROR])
