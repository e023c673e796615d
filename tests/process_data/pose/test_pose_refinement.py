import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from nerfblendshape_ns.process_data.face.canonical_face import BROWS
from nerfblendshape_ns.process_data.pose import head_pose, pose_geometry
from nerfblendshape_ns.process_data.pose.head_points import (
    EYE_CORNERS,
    NUM_POINTS,
    SUBNASALE,
    face_points,
    hair_points,
    median_frame,
)
from nerfblendshape_ns.process_data.pose.pose_geometry import FRONTAL, Intrinsics
from nerfblendshape_ns.process_data.pose.pose_refinement import PASS_BANDS, ROUNDS_PER_BAND, refine_poses

CAMERA = Intrinsics(420.0, 128.0, 128.0)
PIXELS_PER_CM = 20.0


def flat_face():
    """468 points of a flat face at z = 0, with the landmarks that the region is cut from in their places."""
    mesh = np.random.default_rng(0).uniform([-7, -9, 0], [7, 9, 0], (468, 3)) * [1, 1, 0]
    mesh[SUBNASALE] = (0, -2, 0)
    for (outer, inner), brow, side in zip(EYE_CORNERS, BROWS, (-1, 1)):
        mesh[outer], mesh[inner] = (side * 4.5, 3, 0), (side * 1.7, 3, 0)
        for position, landmark in enumerate(brow):
            mesh[landmark] = (side * (1.5 + 0.35 * position), 4.5 + 0.1 * position, 0)
    return mesh


def skin(seed=0):
    """A smooth random texture of 20 x 20 cm."""
    noise = np.random.default_rng(seed).normal(size=(400, 400)).astype(np.float32)
    smooth = sum(cv2.GaussianBlur(noise, (0, 0), sigma) * sigma for sigma in (4, 8, 16))
    return np.clip(128 + 40 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def picture(texture, rotation, translation):
    """The textured plane seen by the camera: a homography from plane to pixels."""
    to_plane = np.array([[1 / PIXELS_PER_CM, 0, -10], [0, -1 / PIXELS_PER_CM, 10], [0, 0, 1]])
    homography = CAMERA.matrix() @ np.column_stack([rotation[:, 0], rotation[:, 1], translation]) @ to_plane
    # Continuous coordinates have the first pixel's centre at 0.5.
    shift = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1.0]])
    warp = shift @ homography @ np.linalg.inv(shift)
    grey = cv2.warpPerspective(texture, warp, (256, 256), flags=cv2.INTER_LINEAR, borderValue=128)
    return np.repeat(grey[..., None], 3, axis=2)


def test_points_lie_on_the_upper_face_and_not_on_eyes_or_brows():
    mesh = flat_face()
    found = face_points(mesh)
    points = found.points
    assert points.shape == (NUM_POINTS, 3) and np.allclose(found.normals, [0, 0, 1])
    assert points[:, 1].min() > -5
    assert not ((np.abs(np.abs(points[:, 0]) - 3.1) < 0.5) & (np.abs(points[:, 1] - 3) < 0.2)).any()
    assert not ((np.abs(np.abs(points[:, 0]) - 3.0) < 0.5) & (np.abs(points[:, 1] - 4.9) < 0.2)).any()
    assert np.array_equal(face_points(mesh).points, points)


def test_hair_points_are_seen_where_the_hair_is():
    """A face in the middle of a head of hair: points project into the hair, outside the face and above the nose."""
    mesh = flat_face() * [1, 0.8, 1]
    mesh[[1, 9, 10, 234, 454]] = [[0, 0, 0], [0, 4, 0], [0, 7.2, 0], [-7, 1, -4], [7, 1, -4]]
    rotation = FRONTAL[None] @ Rotation.from_euler("y", [[0.0], [30.0], [2.0]], degrees=True).as_matrix()
    poses = pose_geometry.pack(rotation, np.tile([0.0, 0.0, 50.0], (3, 1)), FRONTAL)
    fit = head_pose.PoseFit(poses, FRONTAL, mesh, np.ones(468), np.ones(3))
    assert median_frame(fit) == 2
    labels = np.zeros((256, 256), np.uint8)
    labels[20:250, 30:226] = 1
    found = hair_points(labels, fit, 0, mesh, CAMERA)
    assert found is not None and found.points.shape == (NUM_POINTS, 3) and found.normals is None and found.weight < 1
    seen = pose_geometry.project(pose_geometry.to_camera(poses[:1], FRONTAL, found.points), CAMERA)[0]
    assert np.allclose(seen % 1, 0.5, atol=1e-6)
    assert seen[:, 0].min() > 30 and seen[:, 0].max() < 226 and seen[:, 1].min() > 20 and seen[:, 1].max() < 129
    inside_face = (np.abs(seen[:, 0] - 128) < 55) & (seen[:, 1] > 75)
    assert not inside_face.any()
    # Behind the face, in front of the back of the head.
    assert found.points[:, 2].max() < 1 and found.points[:, 2].min() > -12
    labels[:] = 0
    assert hair_points(labels, fit, 0, mesh, CAMERA) is None


def test_texture_corrects_what_wandering_landmarks_get_wrong(monkeypatch):
    num_frames = 24
    time = np.linspace(0, 2 * np.pi, num_frames)
    angles = np.stack([10 * np.sin(time), 5 * np.cos(time), 3 * np.sin(2 * time)], 1)
    rotation = FRONTAL @ Rotation.from_euler("yxz", angles, degrees=True).as_matrix()
    translation = np.stack([np.sin(time), np.cos(time), 40 + np.sin(time)], 1)
    texture, mesh = skin(), flat_face()
    frames = [picture(texture, rotation[index], translation[index]) for index in range(num_frames)]
    chosen = mesh[::12]
    exact = pose_geometry.project(chosen @ rotation.transpose(0, 2, 1) + translation[:, None], CAMERA)
    # All landmarks of a frame shift together, as a tracker's do, by a pixel or so, differently in each frame.
    random = np.random.default_rng(4)
    observed = exact + random.normal(0, 1.2, (num_frames, 1, 2)) + random.normal(0, 1.0, exact.shape)
    monkeypatch.setattr(head_pose, "SHAPE_DEVIATION", 0.01)
    fit = head_pose.fit_clip(observed, chosen, CAMERA, 0.0)
    rounds = []
    fit_poses = refine_poses(frames, fit, [face_points(mesh)], observed, CAMERA, 0.0, PASS_BANDS, rounds.append)
    assert len(rounds) == ROUNDS_PER_BAND * len(PASS_BANDS)

    def wander(poses):
        seen = pose_geometry.project(pose_geometry.to_camera(poses, fit.reference, mesh), CAMERA)
        error = seen - pose_geometry.project(mesh @ rotation.transpose(0, 2, 1) + translation[:, None], CAMERA)
        # A shift that all frames share is one of the head's axes, not of its motion.
        return np.sqrt(((error - error.mean(0)) ** 2).sum(-1).mean())

    assert wander(fit.poses) > 1.2
    assert wander(fit_poses) < 0.35 * wander(fit.poses)
