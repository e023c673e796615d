"""Head poses of a clip as vectors: exponential map, projection and its derivatives, camera-to-head matrices.

A pose takes head space (x right, y up, z out of the face) to the OpenCV camera (x right, y down, z forward):
``camera = rotation @ head + translation``. Each pose is six numbers, a rotation vector relative to the clip's reference
rotation and a translation, so that differences between neighbouring frames are small and can be penalised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

import numpy as np
from scipy.spatial.transform import Rotation

# Head axes seen by an OpenCV camera that looks straight at the face.
FRONTAL = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera with square pixels."""

    focal: float
    """Focal length in pixels."""
    centre_x: float
    """Principal point, pixels from the left edge."""
    centre_y: float
    """Principal point, pixels from the top edge."""

    def matrix(self) -> np.ndarray:
        """The 3x3 camera matrix."""
        return np.array([[self.focal, 0, self.centre_x], [0, self.focal, self.centre_y], [0, 0, 1.0]])


def rotations(poses: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Rotation matrices ``[frames, 3, 3]`` of poses ``[frames, 6]`` (rotation vector, translation)."""
    return Rotation.from_rotvec(poses[:, :3]).as_matrix() @ reference


def pack(rotation_matrices: np.ndarray, translations: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The inverse of :func:`rotations`: poses ``[frames, 6]`` from matrices ``[frames, 3, 3]`` and ``[frames, 3]``."""
    vectors = Rotation.from_matrix(rotation_matrices @ reference.T).as_rotvec()
    return np.concatenate([vectors, translations], axis=1)


def to_camera(poses: np.ndarray, reference: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points ``[points, 3]`` of head space in every frame's camera: ``[frames, points, 3]``."""
    return points @ rotations(poses, reference).transpose(0, 2, 1) + poses[:, None, 3:]


def project(camera_points: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
    """Pixels ``[..., 2]`` of camera-space points ``[..., 3]``."""
    scaled = intrinsics.focal * camera_points[..., :2] / camera_points[..., 2:]
    return scaled + np.array([intrinsics.centre_x, intrinsics.centre_y])


def left_jacobian(vectors: np.ndarray) -> np.ndarray:
    """Left Jacobian of the exponential map: ``exp(v + d) ≈ exp(J d) exp(v)``.

    See Solà et al., "A micro Lie theory for state estimation in robotics" (2018), equation 145.

    Args:
        vectors: rotation vectors ``[frames, 3]``.

    Returns:
        ``[frames, 3, 3]``.
    """
    angle = np.linalg.norm(vectors, axis=1)[:, None, None]
    small = angle < 1e-4
    safe = np.where(small, 1.0, angle)
    first = np.where(small, 0.5 - angle**2 / 24, (1 - np.cos(safe)) / safe**2)
    second = np.where(small, 1 / 6 - angle**2 / 120, (safe - np.sin(safe)) / safe**3)
    cross = cross_matrices(vectors)
    return np.eye(3) + first * cross + second * cross @ cross


def cross_matrices(vectors: np.ndarray) -> np.ndarray:
    """Skew matrices ``[..., 3, 3]`` with ``matrix @ x = cross(vector, x)``."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    rows = [[zero, -z, y], [z, zero, -x], [-y, x, zero]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def projection_jacobian(camera_points: np.ndarray, focal: float) -> np.ndarray:
    """Derivative of the pixel by the camera-space point: ``[..., 2, 3]``."""
    x, y, z = np.moveaxis(camera_points, -1, 0)
    zero = np.zeros_like(x)
    rows = [[focal / z, zero, -focal * x / z**2], [zero, focal / z, -focal * y / z**2]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def linearise(
    poses: np.ndarray, reference: np.ndarray, shape: np.ndarray, observed: np.ndarray, intrinsics: Intrinsics
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residual ``observed - predicted`` and the derivatives of the prediction.

    Args:
        poses: ``[frames, 6]``.
        reference: ``[3, 3]``, the rotation that their rotation vectors are relative to.
        shape: ``[points, 3]`` in head space.
        observed: ``[frames, points, 2]`` pixels.
        intrinsics: the camera.

    Returns:
        residual ``[frames, points, 2]``, by pose ``[frames, points, 2, 6]``, by shape ``[frames, points, 2, 3]``.
    """
    rotation = rotations(poses, reference)
    turned = shape @ rotation.transpose(0, 2, 1)
    camera = turned + poses[:, None, 3:]
    by_camera = projection_jacobian(camera, intrinsics.focal)
    residual = observed - project(camera, intrinsics)
    by_rotation = -by_camera @ cross_matrices(turned) @ left_jacobian(poses[:, :3])[:, None]
    return residual, np.concatenate([by_rotation, by_camera], axis=-1), by_camera @ rotation[:, None]


def camera_to_head(poses: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """OpenGL camera-to-head matrices ``[frames, 4, 4]``, nerfstudio's convention with head space as the world."""
    rotation = rotations(poses, reference)
    matrices = np.tile(np.eye(4), (len(poses), 1, 1))
    # OpenGL's camera axes are OpenCV's with y and z negated; the inverse of a rotation is its transpose.
    matrices[:, :3, :3] = rotation.transpose(0, 2, 1) @ FRONTAL
    matrices[:, :3, 3] = -np.einsum("nji,nj->ni", rotation, poses[:, 3:])
    return matrices


def angles_in_degrees(poses: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Yaw, pitch and roll of the head in degrees, ``[frames, 3]``; zero looks straight at the camera."""
    turned = FRONTAL @ rotations(poses, reference)
    return Rotation.from_matrix(turned).as_euler("yxz", degrees=True)


def mean_rotation(rotation_matrices: np.ndarray) -> np.ndarray:
    """Chordal mean of rotation matrices ``[frames, 3, 3]``."""
    return Rotation.from_matrix(rotation_matrices).mean().as_matrix()
