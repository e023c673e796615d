import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from nerfblendshape_ns.process_data import camera_motion, head_pose
from nerfblendshape_ns.process_data.camera_motion import FRONTAL, Intrinsics
from nerfblendshape_ns.process_data.pose_refinement import EYE_CORNERS, SUBNASALE, face_points, num_rounds, refine_poses

CAMERA = Intrinsics(420.0, 128.0, 128.0)
PIXELS_PER_CM = 20.0


def flat_face():
    """468 points of a flat face at z = 0, with the landmarks that the region is cut from in their places."""
    mesh = np.random.default_rng(0).uniform([-7, -9, 0], [7, 9, 0], (468, 3)) * [1, 1, 0]
    mesh[SUBNASALE] = (0, -2, 0)
    for (outer, inner), side in zip(EYE_CORNERS, (-1, 1)):
        mesh[outer], mesh[inner] = (side * 4.5, 3, 0), (side * 1.7, 3, 0)
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


def test_points_lie_on_the_upper_face_and_not_on_the_eyes():
    mesh = flat_face()
    points, normals = face_points(mesh, 500)
    assert points.shape == (500, 3) and np.allclose(normals, [0, 0, 1])
    assert points[:, 1].min() > -5
    assert not ((np.abs(np.abs(points[:, 0]) - 3.1) < 0.5) & (np.abs(points[:, 1] - 3) < 0.2)).any()
    assert np.array_equal(face_points(mesh, 500)[0], points)


def test_texture_corrects_what_wandering_landmarks_get_wrong():
    num_frames = 24
    time = np.linspace(0, 2 * np.pi, num_frames)
    angles = np.stack([10 * np.sin(time), 5 * np.cos(time), 3 * np.sin(2 * time)], 1)
    rotation = FRONTAL @ Rotation.from_euler("yxz", angles, degrees=True).as_matrix()
    translation = np.stack([np.sin(time), np.cos(time), 40 + np.sin(time)], 1)
    texture, mesh = skin(), flat_face()
    frames = [picture(texture, rotation[index], translation[index]) for index in range(num_frames)]
    chosen = mesh[::12]
    exact = camera_motion.project(chosen @ rotation.transpose(0, 2, 1) + translation[:, None], CAMERA)
    # All landmarks of a frame shift together, as a tracker's do, by a pixel or so, differently in each frame.
    random = np.random.default_rng(4)
    observed = exact + random.normal(0, 1.2, (num_frames, 1, 2)) + random.normal(0, 1.0, exact.shape)
    fit = head_pose.fit_clip(observed, chosen, CAMERA, 0.0, shape_deviation=0.01)
    rounds = []
    fit_poses = refine_poses(frames, fit, mesh, observed, CAMERA, 0.0, rounds.append)
    assert len(rounds) == num_rounds()

    def wander(poses):
        seen = camera_motion.project(camera_motion.to_camera(poses, fit.reference, mesh), CAMERA)
        error = seen - camera_motion.project(mesh @ rotation.transpose(0, 2, 1) + translation[:, None], CAMERA)
        # A shift that all frames share is one of the head's axes, not of its motion.
        return np.sqrt(((error - error.mean(0)) ** 2).sum(-1).mean())

    assert wander(fit.poses) > 1.2
    assert wander(fit_poses) < 0.35 * wander(fit.poses)
