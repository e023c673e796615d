import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nerfblendshape_ns.process_data.pose import head_pose, pose_geometry
from nerfblendshape_ns.process_data.pose.banded_system import acceleration_band, band_product, information_into_band
from nerfblendshape_ns.process_data.pose.landmark_trust import robust_weights
from nerfblendshape_ns.process_data.pose.pose_geometry import FRONTAL, Intrinsics

CAMERA = Intrinsics(835.0, 250.0, 262.0)


def face(num_points=48, seed=0):
    """Points on a curved face of 14 x 16 cm."""
    random = np.random.default_rng(seed)
    points = random.uniform([-7, -8, 0], [7, 8, 0], (num_points, 3))
    points[:, 2] = 7 - 0.09 * (points[:, :2] ** 2).sum(1) + random.normal(0, 0.6, num_points)
    return points


def talking_poses(num_frames=60):
    """A smooth track with 25 degrees of yaw; rotations ``[frames, 3, 3]``, translations ``[frames, 3]``."""
    time = np.linspace(0, 2 * np.pi, num_frames)
    angles = np.stack([25 * np.sin(time), 9 * np.sin(2 * time + 1), 6 * np.cos(time)], 1)
    rotation = Rotation.from_euler("yxz", angles, degrees=True).as_matrix()
    translation = np.stack([2 * np.sin(time), np.cos(2 * time), 55 + 3 * np.sin(time + 0.5)], 1)
    return FRONTAL @ rotation, translation


def observe(shape, rotation, translation):
    return pose_geometry.project(shape @ rotation.transpose(0, 2, 1) + translation[:, None], CAMERA)


def test_poses_and_personal_shape_are_recovered_from_exact_projections(monkeypatch):
    rotation, translation = talking_poses()
    person, reference = face(), face() + np.random.default_rng(5).normal(0, 0.3, (48, 3))
    observed = observe(person, rotation, translation)
    monkeypatch.setattr(head_pose, "SHAPE_DEVIATION", 100.0)
    monkeypatch.setattr(head_pose, "ROUNDS", 40)
    fit = head_pose.fit_clip(observed, reference, CAMERA, smoothness=0.0)
    assert head_pose.rms(fit.reprojection_errors(observed, CAMERA)) < 1e-3
    # The head's own axes cannot be seen in a video: compare after the best similarity between the two shapes.
    centred, target = fit.shape - fit.shape.mean(0), person - person.mean(0)
    scale = np.linalg.norm(target) / np.linalg.norm(centred)
    turn = Rotation.align_vectors(target, centred)[0].as_matrix()
    assert np.abs(scale * centred @ turn.T - target).max() < 2e-3
    found = pose_geometry.rotations(fit.poses, fit.reference) @ turn.T
    angle = Rotation.from_matrix(found.transpose(0, 2, 1) @ rotation).magnitude()
    assert np.degrees(angle).max() < 0.01


def test_known_shape_gives_known_poses_under_smoothing(monkeypatch):
    rotation, translation = talking_poses()
    person = face()
    observed = observe(person, rotation, translation)
    monkeypatch.setattr(head_pose, "SHAPE_DEVIATION", 1e-4)
    fit = head_pose.fit_clip(observed, person, CAMERA, smoothness=0.5)
    found = pose_geometry.rotations(fit.poses, fit.reference)
    assert np.degrees(Rotation.from_matrix(found.transpose(0, 2, 1) @ rotation).magnitude()).max() < 0.05
    assert np.abs(fit.poses[:, 3:] - translation).max() < 0.05


def test_noise_is_averaged_and_an_outlier_landmark_does_not_pull(monkeypatch):
    rotation, translation = talking_poses(80)
    person = face()
    random = np.random.default_rng(2)
    observed = observe(person, rotation, translation) + random.normal(0, 1.0, (80, 48, 2))
    observed[:, 3] += random.normal(0, 25, (80, 2))
    observed[30, 10] += 60
    errors = {}
    monkeypatch.setattr(head_pose, "SHAPE_DEVIATION", 0.05)
    for smoothness in (0.0, 1.0):
        fit = head_pose.fit_clip(observed, person, CAMERA, smoothness)
        found = pose_geometry.rotations(fit.poses, fit.reference)
        angle = np.degrees(Rotation.from_matrix(found.transpose(0, 2, 1) @ rotation).magnitude())
        errors[smoothness] = np.sqrt((angle**2).mean())
        assert fit.noise[3] > 8 * np.median(fit.noise)
    assert errors[0.0] < 0.5
    assert errors[1.0] < 0.8 * errors[0.0]


def test_smoothing_treats_both_directions_of_time_alike():
    rotation, translation = talking_poses(40)
    person = face()
    observed = observe(person, rotation, translation) + np.random.default_rng(3).normal(0, 1, (40, 48, 2))
    forward = head_pose.fit_clip(observed, person, CAMERA, 1.0)
    backward = head_pose.fit_clip(observed[::-1], person, CAMERA, 1.0)
    assert np.allclose(forward.poses[:, 3:], backward.poses[::-1, 3:], atol=1e-4)


def test_linearisation_matches_finite_differences():
    rotation, translation = talking_poses(4)
    reference = pose_geometry.mean_rotation(rotation)
    poses = pose_geometry.pack(rotation, translation, reference)
    shape, step = face(5), 1e-6
    observed = np.zeros((4, 5, 2))
    _, by_pose, by_shape = pose_geometry.linearise(poses, reference, shape, observed, CAMERA)
    for column in range(6):
        moved = poses.copy()
        moved[:, column] += step
        change = pose_geometry.linearise(poses, reference, shape, observed, CAMERA)[0]
        change = (change - pose_geometry.linearise(moved, reference, shape, observed, CAMERA)[0]) / step
        assert np.allclose(change, by_pose[..., column], rtol=1e-4, atol=1e-3)
    for axis in range(3):
        change = pose_geometry.linearise(poses, reference, shape, observed, CAMERA)[0]
        moved_shape = shape + step * np.eye(3)[axis]
        change = (change - pose_geometry.linearise(poses, reference, moved_shape, observed, CAMERA)[0]) / step
        assert np.allclose(change, by_shape[..., axis], rtol=1e-4, atol=1e-3)


def test_camera_to_head_of_a_frontal_face():
    """A head 50 cm in front of the camera sees the camera 50 cm along its own z, looking back along -z."""
    poses = pose_geometry.pack(FRONTAL[None], np.array([[0.0, 0.0, 50.0]]), FRONTAL)
    matrix = pose_geometry.camera_to_head(poses, FRONTAL)[0]
    assert np.allclose(matrix[:3, 3], [0, 0, 50])
    assert np.allclose(matrix[:3, :3], np.eye(3))


def test_yaw_is_positive_when_the_head_turns_to_its_left_and_pitch_when_it_looks_down():
    turned = FRONTAL @ Rotation.from_euler("y", 20, degrees=True).as_matrix()
    poses = pose_geometry.pack(turned[None], np.array([[0.0, 0.0, 50.0]]), FRONTAL)
    assert np.allclose(pose_geometry.angles_in_degrees(poses, FRONTAL), [[20, 0, 0]])
    # The nose (0, 0, 1) moves to the image's right, which is the person's left.
    assert (turned @ [0, 0, 1])[0] > 0
    nodded = FRONTAL @ Rotation.from_euler("x", 10, degrees=True).as_matrix()
    poses = pose_geometry.pack(nodded[None], np.array([[0.0, 0.0, 50.0]]), FRONTAL)
    assert np.allclose(pose_geometry.angles_in_degrees(poses, FRONTAL), [[0, 10, 0]])
    assert (nodded @ [0, 0, 1])[1] > 0


def test_mesh_is_triangulated_in_the_head_axes(monkeypatch):
    rotation, translation = talking_poses()
    person = face()
    observed = observe(person, rotation, translation)
    monkeypatch.setattr(head_pose, "SHAPE_DEVIATION", 1e-4)
    fit = head_pose.fit_clip(observed, person, CAMERA, 0.0)
    rough = person + np.random.default_rng(1).normal(0, 0.3, person.shape)
    monkeypatch.setattr(head_pose, "SHAPE_DEVIATION", 10.0)
    monkeypatch.setattr(head_pose, "MESH_ROUNDS", 10)
    mesh = head_pose.fit_mesh(fit, observed, rough, CAMERA)
    assert np.abs(mesh - person).max() < 0.02


def test_banded_system_equals_the_dense_one():
    random = np.random.default_rng(0)
    num_frames = 7
    half = random.normal(size=(num_frames, 6, 6))
    information = half @ half.transpose(0, 2, 1)
    penalty = information.mean(0)
    weights = random.uniform(0.1, 1, num_frames - 2)
    second = np.zeros((num_frames - 2, num_frames))
    for row in range(num_frames - 2):
        second[row, row : row + 3] = (1, -2, 1)
    dense = np.kron(second.T @ np.diag(weights) @ second, penalty)
    poses = random.normal(size=(num_frames, 6))
    band = acceleration_band(penalty, weights)
    assert np.allclose(band_product(band, poses), dense @ poses.reshape(-1))
    for index in range(num_frames):
        dense[index * 6 : index * 6 + 6, index * 6 : index * 6 + 6] += information[index]
    full = information_into_band(information, band)
    assert np.allclose(band_product(full, poses), dense @ poses.reshape(-1))


def test_left_jacobian_of_small_and_large_rotations():
    for size in (1e-7, 0.3, 2.0):
        vector = np.array([[0.6, -0.7, 0.4]]) * size
        jacobian = pose_geometry.left_jacobian(vector)[0]
        step = np.array([1e-6, -2e-6, 1.5e-6])
        exact = Rotation.from_rotvec(vector[0] + step) * Rotation.from_rotvec(vector[0]).inv()
        assert np.allclose(exact.as_rotvec(), jacobian @ step, atol=1e-11)


@pytest.mark.parametrize("scaled, weight", [(0.0, 1.0), (3.0, 0.25)])
def test_robust_weights_are_relative_to_the_frame(scaled, weight):
    distances = np.ones((2, 9))
    distances[:, 4] = scaled
    distances[1] *= 100
    assert np.allclose(robust_weights(distances)[:, 4], weight)
