import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.contract import default_test_frames
from nerfblendshape_ns.synthetic.expressions import EXPRESSION_NAMES
from nerfblendshape_ns.synthetic.motion import (
    MAX_PITCH,
    MAX_ROLL,
    MAX_YAW,
    NECK_PIVOT,
    head_pose,
    pose_angles,
    talking_motion,
    unseen_expressions,
    unseen_views,
)


@pytest.fixture(scope="module")
def motion():
    return talking_motion(200, 25.0, 0)


def test_a_pose_turns_about_the_base_of_the_skull():
    pose = head_pose(20.0, -10.0, 5.0, np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(pose[:3, :3] @ NECK_PIVOT + pose[:3, 3], NECK_PIVOT + [1.0, 2.0, 3.0])
    np.testing.assert_allclose(pose_angles(pose), [20.0, -10.0, 5.0])
    # Positive yaw: what looked along +z now looks to +x, the image's right.
    np.testing.assert_allclose(head_pose(90.0, 0.0, 0.0)[:3, :3] @ [0, 0, 1], [1, 0, 0], atol=1e-12)


def test_poses_stay_within_the_limits_and_use_most_of_them():
    angles = np.concatenate([pose_angles(talking_motion(400, 25.0, seed).head_to_world) for seed in range(4)])
    limits = np.array([MAX_YAW, MAX_PITCH, MAX_ROLL])
    assert (np.abs(angles) <= limits).all()
    assert (np.abs(angles).max(0) > 0.75 * limits).all()


def test_coefficients_stay_within_zero_and_one_and_all_move_in_training(motion):
    assert motion.expressions.shape == (200, len(EXPRESSION_NAMES)) and motion.expressions.dtype == np.float32
    assert motion.expressions.min() >= 0.0 and motion.expressions.max() <= 1.0
    train = motion.expressions[: 200 - default_test_frames(200)]
    assert (train.max(0) > 0.5).all()
    assert len(EXPRESSION_NAMES) >= 14 and len(set(EXPRESSION_NAMES)) == len(EXPRESSION_NAMES)


@pytest.mark.parametrize("num_frames, fps", [(20, 10.0), (50, 25.0)])
def test_short_clips_move_every_coefficient(num_frames, fps):
    assert (np.ptp(talking_motion(num_frames, fps, 0).expressions, axis=0) > 0.2).sum() >= 18


def test_motion_is_smooth_and_a_function_of_time(motion):
    assert np.abs(np.diff(pose_angles(motion.head_to_world), axis=0)).max() < 4.0  # degrees a frame at 25 fps
    twice = talking_motion(399, 50.0, 0)  # the same eight seconds
    np.testing.assert_allclose(twice.expressions[::2], motion.expressions, atol=1e-6)
    np.testing.assert_allclose(twice.head_to_world[::2], motion.head_to_world, atol=1e-9)


def test_motion_is_deterministic_and_differs_between_seeds(motion):
    again = talking_motion(200, 25.0, 0)
    assert np.array_equal(again.expressions, motion.expressions)
    assert np.array_equal(again.head_to_world, motion.head_to_world)
    assert not np.array_equal(talking_motion(200, 25.0, 1).expressions, motion.expressions)


def test_unseen_expressions_are_in_range_and_far_from_every_frame(motion):
    train = motion.expressions[:180]
    unseen = unseen_expressions(train, 8, seed=3)
    assert np.array_equal(unseen, unseen_expressions(train, 8, seed=3))
    low, high = train.min(0), train.max(0)
    assert ((unseen >= low) & (unseen <= high)).all()
    distance = np.linalg.norm((train[None] - unseen[:, None]) / (high - low), axis=-1)
    assert distance.min() >= 0.5 - 1e-6


def test_unseen_views_are_between_the_clips_poses(motion):
    train = motion.head_to_world[:180]
    unseen = unseen_views(train, 6, seed=3)
    assert np.array_equal(unseen, unseen_views(train, 6, seed=3))
    seen = Rotation.from_matrix(train[:, :3, :3])
    for pose in unseen:
        nearest = np.degrees((seen.inv() * Rotation.from_matrix(pose[:3, :3])).magnitude()).min()
        assert 2.5 <= nearest <= 9.0
    angles, frames = pose_angles(unseen), pose_angles(train)
    assert (angles >= frames.min(0)).all() and (angles <= frames.max(0)).all()


def test_impossible_requests_are_refused(motion):
    with pytest.raises(UserError, match="of 3 unseen expressions lie 50 away"):
        unseen_expressions(motion.expressions, 3, minimum_distance=50)
    with pytest.raises(UserError, match="of 2 unseen views lie 80 degrees"):
        unseen_views(motion.head_to_world, 2, minimum_degrees=80)
