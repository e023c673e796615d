"""Poses by a face that moves with known coefficients, against poses that are known."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nerfblendshape_ns.process_data.pose import moving_face
from nerfblendshape_ns.process_data.pose.head_pose import PoseFit
from nerfblendshape_ns.process_data.pose.moving_face import MovingFace, refine_on_moving_face
from nerfblendshape_ns.process_data.pose.pose_geometry import FRONTAL, Intrinsics, project, to_camera

CAMERA = Intrinsics(800.0, 256.0, 256.0)
FRAMES, POINTS = 120, 80


def wave(periods, phase):
    return np.sin(2 * np.pi * (np.arange(FRAMES) / FRAMES * periods + phase))


def face():
    """Points on the front of a head; brows go down and in with the first coefficient, the chin with the second."""
    rest = np.random.default_rng(0).uniform([-6, -8, 0], [6, 6, 0], (POINTS, 3))
    rest[:, 2] = 6 - 0.08 * (rest[:, 0] ** 2 + 0.5 * rest[:, 1] ** 2)
    motion = np.zeros((2, POINTS, 3))
    motion[0, rest[:, 1] > 2] = [0.0, -0.8, 0.2]
    motion[1, rest[:, 1] < -4] = [0.0, -1.5, -0.4]
    return MovingFace(rest, motion)


def clip(noise=0.3):
    """Coefficients, true poses and landmarks."""
    expression = np.stack([0.5 + 0.5 * wave(5, 0.1), 0.5 + 0.5 * wave(9, 0.6)], -1)
    angles = np.stack([0.10 * wave(1.3, 0.2), 0.25 * wave(0.9, 0.0), 0.05 * wave(2.1, 0.4)], -1)
    places = np.stack([wave(0.7, 0.3), 0.5 * wave(1.1, 0.8), 60 + 2 * wave(0.8, 0.5)], -1)
    poses = np.concatenate([angles, places], axis=1)
    seen = project(to_camera(poses, FRONTAL, face().shapes(expression)), CAMERA)
    return expression, poses, seen + np.random.default_rng(1).normal(0, noise, seen.shape)


def degrees(first, second):
    turns = Rotation.from_rotvec(first[:, :3]).inv() * Rotation.from_rotvec(second[:, :3])
    return np.rad2deg(np.sqrt((turns.magnitude() ** 2).mean()))


def wandering(poses, size=2.0):
    """Poses that are wrong by some ``size`` degrees, slowly and unlike any coefficient."""
    wrong = np.deg2rad(size) * np.stack([wave(3.3, 0.0), wave(2.7, 0.3), wave(3.9, 0.7)], -1)
    return np.concatenate([poses[:, :3] + wrong, poses[:, 3:] + 0.2 * wrong], axis=1)


def refined(start, expression, seen, **options):
    fit = PoseFit(start, FRONTAL, face().neutral, np.full(POINTS, 1.0), options.pop("trust", np.ones(FRAMES)))
    return refine_on_moving_face(fit, face().shapes(expression).mean(0), seen, expression, CAMERA, 1.0, **options)


def test_poses_come_nearer_to_the_truth():
    expression, truth, seen = clip()
    start = wandering(truth)
    poses, _ = refined(start, expression, seen)
    assert degrees(start, truth) == pytest.approx(2.45, abs=0.1)
    assert degrees(poses, truth) < 0.8


def test_the_face_is_found_with_its_motion():
    expression, truth, seen = clip(noise=0.0)
    poses, found = refined(truth, expression, seen)
    # A face that moves up as a whole and a head that nods look much alike: true poses do not stay quite what they were.
    assert degrees(poses, truth) < 0.5
    chin = face().neutral[:, 1] < -4
    assert found.motion[1, chin, 1].mean() == pytest.approx(-1.5, abs=0.2)
    assert abs(found.motion[0, chin, 1].mean()) < 0.2
    error = seen - project(to_camera(poses, FRONTAL, found.shapes(expression)), CAMERA)
    assert np.sqrt((error**2).mean()) < 0.3


def test_a_frame_that_is_not_believed_does_not_pull():
    expression, truth, seen = clip()
    seen[60] += 40.0
    trust = np.ones(FRAMES)
    trust[60] = 1e-4
    poses, _ = refined(wandering(truth), expression, seen, trust=trust)
    assert degrees(poses[58:63], truth[58:63]) < 1.2
    # All its landmarks are 40 pixels beside theirs: three centimetres.
    assert np.abs(poses[60, 3:5] - truth[60, 3:5]).max() < 0.5


def test_long_clips_are_worked_through_in_pieces(monkeypatch):
    expression, truth, seen = clip()
    start = wandering(truth)
    whole, _ = refined(start, expression, seen)
    monkeypatch.setattr(moving_face, "MESH_PIECE", 37)
    pieces, _ = refined(start, expression, seen)
    np.testing.assert_allclose(pieces, whole, atol=1e-9)
