"""A face that moves linearly with its coefficients, and a tracker that misses one of them."""

from typing import Any, Dict, Sequence, Tuple

import numpy as np

from nerfblendshape_ns.process_data.pose.pose_geometry import FRONTAL, Intrinsics, project, to_camera

FRAMES, POINTS, BASIS = 90, 60, 4
CAMERA = Intrinsics(800.0, 250.0, 260.0)
MISSED = slice(60, 80)
"""Frames in which the tracker does not see the third coefficient."""


def clip(points: int = POINTS, turning: Sequence[int] = ()) -> Tuple[Dict[str, Any], np.ndarray]:
    """What a tracker says of a face that moves linearly, and the true coefficients.

    Args:
        points: number of landmarks.
        turning: those that the missed coefficient moves; all if left out.
    """
    random = np.random.default_rng(0)
    mesh = random.uniform(-1, 1, (points, 3)) * (7.0, 9.0, 3.0)
    motion = random.normal(0, 0.6, (BASIS, points, 3))
    if turning:
        motion[2, [point for point in range(points) if point not in turning]] = 0.0
    phase = np.arange(FRAMES)[:, None] * (0.31, 0.17, 0.23, 0.11)
    truth = 0.5 + 0.5 * np.sin(phase)
    poses = np.zeros((FRAMES, 6))
    poses[:, 1], poses[:, 5] = 0.4 * np.sin(0.2 * np.arange(FRAMES)), 60.0
    points = mesh + np.einsum("fk,kpa->fpa", truth, motion)
    observed = project(to_camera(poses, FRONTAL, points), CAMERA)
    tracked = truth.copy()
    tracked[MISSED, 2] = 0.5
    given = {"observed": observed, "coefficients": tracked, "poses": poses, "reference": FRONTAL, "mesh": mesh}
    return {**given, "intrinsics": CAMERA, "trust": np.ones(FRAMES)}, truth
