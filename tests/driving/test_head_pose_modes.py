"""Head-pose modes: who moves, head or camera, and how far."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.driving.head_pose import PoseSettings, limit_turns, make_poses
from nerfblendshape_ns.driving.sequence import HeadMotion
from nerfblendshape_ns.expressions.head_turns import RANGE_MARGIN

# A camera 4 in front of a face that looks along -y, up +z: head-to-camera in the normalised space.
FRONT = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
PLACE = np.array([0.1, -0.2, -4.0])


def turned(axis, degrees):
    """Head-to-camera rotations that turn about an axis of the camera."""
    return Rotation.from_euler(axis, np.asarray(degrees, float)[:, None], degrees=True).as_matrix()


def own(*yaws):
    yaws = yaws or (-10, 0, 10)
    return HeadMotion(turned("y", yaws) @ FRONT, np.repeat(PLACE[None], len(yaws), 0))


def seen(pose):
    """Rotation vector in degrees of what the camera sees, against the frontal head."""
    return Rotation.from_matrix(pose[:3, :3].T @ FRONT.T).as_rotvec(degrees=True)


def origin_in_camera(pose):
    return -pose[:3, :3].T @ pose[:3, 3]


def test_own_clip_keeps_its_poses():
    motion = own(3, 5, 4, 8)
    track = make_poses(PoseSettings(), 4, own(), motion, is_own_clip=True)
    assert np.allclose(track.camera, motion.camera_poses()) and np.allclose(track.captured, track.camera)


def test_without_head_poses_the_head_is_held_still():
    track = make_poses(PoseSettings(), 3, own(-10, 0, 10), None, is_own_clip=False)
    for pose in track.camera:
        assert np.allclose(seen(pose), 0, atol=1e-6) and np.allclose(origin_in_camera(pose), PLACE)
    with pytest.raises(UserError, match="--head-pose tracked needs head poses, but keys has none"):
        make_poses(PoseSettings("tracked"), 3, own(), None, False, "keys")


def test_driver_rotations_apply_about_this_persons_mean_at_their_place():
    # The driver's head axes differ (another tracker) and its camera hangs 20 degrees askew; both drop out.
    other_axes = Rotation.from_euler("xyz", [90, 20, 10], degrees=True).as_matrix()
    driver = HeadMotion(turned("y", [-6, 0, 6]) @ other_axes, np.array([[5.0, 0, -60], [0, 0, -60], [-5, 0, -60]]))
    track = make_poses(PoseSettings("rotations", limit=False), 3, own(), driver, False)
    assert np.allclose([seen(pose) for pose in track.camera], [[0, -6, 0], [0, 0, 0], [0, 6, 0]], atol=1e-6)
    assert np.allclose([origin_in_camera(pose) for pose in track.camera], PLACE)


def test_tracked_driver_also_shifts_in_proportion_to_distance():
    driver = HeadMotion(turned("y", [0, 0, 0]) @ FRONT, np.array([[0.0, 0, -60], [6, 0, -60], [-6, 0, -60]]))
    track = make_poses(PoseSettings("tracked"), 3, own(), driver, False)
    shift = 6 / 60 * np.linalg.norm(PLACE)
    expected = PLACE + np.array([[0, 0, 0], [shift, 0, 0], [-shift, 0, 0]])
    assert np.allclose([origin_in_camera(pose) for pose in track.camera], expected)


def test_a_drivers_rest_is_zero_where_it_says_so():
    driver = HeadMotion(turned("y", [0, 8, 8]), np.zeros((3, 3)), neutral=np.eye(3))
    track = make_poses(PoseSettings("rotations", limit=False), 3, own(), driver, False)
    assert np.allclose([seen(pose)[1] for pose in track.camera], [0, 8, 8])


def test_turns_beyond_the_clip_are_softened_but_roll_is_not():
    person = own(*np.linspace(-2, 2, 101))
    limit = 1.98 + RANGE_MARGIN  # The 98th percentile of |yaw| on an even grid to 2 degrees.
    rotations, taken = limit_turns(turned("y", [0.5, 30]) @ FRONT, person)
    angles = Rotation.from_matrix(rotations @ FRONT.T).as_rotvec(degrees=True)
    assert np.allclose(angles[:, 1], limit * np.tanh(np.array([0.5, 30]) / limit), atol=0.05)
    assert abs(angles[0, 1] - 0.5) < 0.01 and angles[1, 1] < limit
    assert taken == pytest.approx(30 - angles[1, 1], abs=1e-6)
    rolled, taken = limit_turns(turned("z", [30]) @ FRONT, person)
    assert np.allclose(Rotation.from_matrix(rolled @ FRONT.T).as_rotvec(degrees=True), [[0, 0, 30]], atol=1e-6)
    assert taken == pytest.approx(0, abs=1e-6)


def test_typed_turns_are_exact_as_far_as_the_limit():
    person = own(*np.linspace(-2, 2, 101))
    typed = HeadMotion(turned("y", [0, -4, 4, 30]), np.zeros((4, 3)), neutral=np.eye(3))
    track = make_poses(PoseSettings(), 4, person, typed, False)
    limit = 1.98 + RANGE_MARGIN
    assert np.allclose([seen(pose)[1] for pose in track.camera], [0, -4, 4, limit], atol=0.05)
    assert track.softened == pytest.approx(30 - limit, abs=0.05)


def test_yaw_sweep_turns_the_head_from_end_to_end():
    track = make_poses(PoseSettings("yaw-sweep"), 200, own(), None, False)
    # About the head's own up, 15 degrees to each side; one way takes 100 frames, so both ends are among them.
    yaw = np.array([seen(pose)[1] for pose in track.camera])
    assert abs(yaw[0] - yaw[99]) == pytest.approx(30) and abs(yaw[0]) == pytest.approx(15)
    assert np.allclose(np.diff(np.abs(np.diff(yaw[:100]))), 0, atol=1e-6)
    assert yaw[198] == pytest.approx(yaw[0])
    assert np.allclose([seen(pose)[[0, 2]] for pose in track.camera], 0, atol=1e-6)
    # The head turns, so a torso's camera turns with it.
    assert np.array_equal(track.captured, track.camera)


def test_orbit_moves_only_the_camera():
    track = make_poses(PoseSettings("orbit", degrees=10, period=40), 80, own(), None, False)
    assert np.allclose(track.captured, track.captured[0]) and np.allclose(seen(track.captured[0]), 0, atol=1e-6)
    assert np.allclose(track.camera[0], track.camera[40])
    # The camera keeps its distance from the head's centre and looks at the same place of the picture.
    assert np.allclose([origin_in_camera(pose) for pose in track.camera], PLACE)
    yaw = np.array([seen(pose)[1] for pose in track.camera])
    assert np.abs(yaw).max() == pytest.approx(10, abs=0.2)


def test_own_poses_run_there_and_back():
    track = make_poses(PoseSettings("own"), 7, own(0, 4, 8), None, False)
    assert np.allclose([seen(pose)[1] for pose in track.camera], [0, 4, 8, 4, 0, 4, 8], atol=1e-6)
    slower = make_poses(PoseSettings("own"), 7, own(0, 4, 8), None, False, own_pace=0.5)
    assert np.allclose([seen(pose)[1] for pose in slower.camera], [0, 2, 4, 6, 8, 6, 4], atol=1e-6)


def test_smoothing_applies_to_moving_heads():
    driver = own(0, 9, 0, 9, 0)
    rough = make_poses(PoseSettings("tracked"), 5, own(), driver, True)
    smooth = make_poses(PoseSettings("tracked", smooth_window=3), 5, own(), driver, True)
    assert np.ptp([seen(p)[1] for p in smooth.camera[1:4]]) < np.ptp([seen(p)[1] for p in rough.camera[1:4]]) / 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (PoseSettings(smooth_window=4), "--smooth-poses 4 must be an odd number"),
        (PoseSettings(period=1), "--pose-period 1 must be at least 2"),
        (PoseSettings(degrees=200), "--pose-degrees 200 must be between"),
    ],
)
def test_bad_numbers_are_told(settings, message):
    with pytest.raises(UserError, match=message):
        make_poses(settings, 3, own(), None, False)
