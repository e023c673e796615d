"""Driver frames in time: resampling and smoothing, by hand."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.driving.sequence import DriverSequence, HeadMotion


def yaws(*degrees):
    return Rotation.from_euler("y", np.array(degrees, float)[:, None], degrees=True).as_matrix()


def yaw_of(rotations):
    return Rotation.from_matrix(rotations).as_euler("yxz", degrees=True)[:, 0]


def sequence(times=(0.0, 1.0, 2.0), **options):
    count = len(times)
    values = np.stack([np.arange(count), -2.0 * np.arange(count)], axis=1).astype(float)
    return DriverSequence("driver", ("a", "b"), values, np.array(times), **options)


def test_resampling_interpolates_between_frames_and_holds_the_last():
    # Three frames a second apart last three seconds, so two frames a second are six.
    resampled = sequence().resampled(2.0)
    assert resampled.times.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert resampled.values[:, 0].tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.0]
    assert resampled.values[:, 1].tolist() == [0.0, -1.0, -2.0, -3.0, -4.0, -4.0]
    # Ties go to the earlier frame.
    assert resampled.source_index is not None and resampled.source_index.tolist() == [0, 0, 1, 1, 2, 2]


def test_a_gap_in_time_is_bridged_where_it_is():
    resampled = sequence((0.0, 1.0, 4.0)).resampled(1.0)
    # The last frame stays for one typical interval: the median of 1 and 3.
    assert resampled.times.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert np.allclose(resampled.values[:, 0], [0, 1, 4 / 3, 5 / 3, 2, 2])


def test_start_and_end_count_from_the_first_frame():
    late = sequence((10.0, 11.0, 12.0))
    cut = late.resampled(2.0, start=0.5, end=1.5)
    assert cut.times.tolist() == [10.5, 11.0]
    assert cut.values[:, 0].tolist() == [0.5, 1.0]
    with pytest.raises(UserError, match="leaves no frame of driver, which lasts 3.00 seconds"):
        late.resampled(2.0, start=3.0)


def test_times_that_cannot_be_are_told_before_they_fill_the_memory():
    """A recording whose first row has no time yet, and the others the seconds since 1970."""
    driver = sequence((0.0, 1.7e9, 1.7e9 + 0.04, 1.7e9 + 0.08))
    with pytest.raises(UserError, match="driver lasts 1700000000 seconds, .* more than 1000000 frames; correct"):
        driver.resampled(25.0)
    assert len(driver.resampled(25.0, end=2.0).times) == 50


def test_a_stretch_shorter_than_a_frame_is_a_frame():
    assert sequence((0.0, 0.04)).resampled(5.0).times.tolist() == [0.0]
    assert sequence((3.0,)).resampled(10.0, start=0.03).times.tolist() == [3.03]


def test_resampling_twice_keeps_the_original_images():
    seen = []
    driver = sequence(read_image=lambda frame: seen.append(frame) or np.zeros((2, 2, 3), np.uint8))
    driver.resampled(4.0).resampled(1.0).image_of(2)
    assert seen == [2]
    with pytest.raises(UserError, match="has no images"):
        sequence().image_of(0)


def test_a_single_frame_is_a_still():
    still = sequence((3.0,), motion=HeadMotion(yaws(7), np.array([[1.0, 2.0, 3.0]]))).resampled(50.0)
    assert still.values.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert still.motion is not None and np.allclose(yaw_of(still.motion.rotation), [7, 7])


def test_rows_must_fit():
    with pytest.raises(UserError, match="shape"):
        DriverSequence("driver", ("a",), np.zeros((2, 2)), np.arange(2.0))


def test_rotations_turn_on_the_shortest_arc():
    motion = HeadMotion(yaws(0, 30), np.array([[0.0, 0, -1], [0, 0, -3]]))
    between = motion.resampled(np.array([0.0, 1.0]), np.array([-1.0, 0.25, 0.5, 9.0]))
    assert np.allclose(yaw_of(between.rotation), [0, 7.5, 15, 30])
    assert between.translation[:, 2].tolist() == [-1.0, -1.5, -2.0, -3.0]


def test_camera_poses_and_motion_are_inverse():
    rotation = Rotation.random(5, random_state=1).as_matrix()
    poses = np.concatenate([rotation, np.random.default_rng(0).normal(size=(5, 3, 1))], axis=2)
    motion = HeadMotion.from_camera_poses(poses)
    assert np.allclose(motion.camera_poses(), poses)
    # The head's origin, seen from the camera: rotate and move (0, 0, 0).
    full = np.tile(np.eye(4), (5, 1, 1))
    full[:, :3] = poses
    assert np.allclose(motion.translation, np.linalg.inv(full)[:, :3, 3])


def test_smoothing_averages_a_centred_window():
    motion = HeadMotion(yaws(0, 0, 9, 0, 0, 0), np.array([[0.0], [0], [3], [0], [0], [6]]) * [1.0, 0, 0])
    smooth = motion.smoothed(3)
    # The window shrinks to nothing at the ends, so those stay.
    assert np.allclose(yaw_of(smooth.rotation), [0, 3, 3, 3, 0, 0], atol=0.02)
    assert np.allclose(smooth.translation[:, 0], [0, 1, 1, 1, 2, 6])
    same = motion.smoothed(1)
    assert np.array_equal(same.rotation, motion.rotation)


def test_smoothing_leaves_steady_motion_alone():
    steady = HeadMotion(yaws(*np.linspace(-20, 20, 21)), np.linspace([0, 0, -4], [1, 0, -4], 21))
    smooth = steady.smoothed(7)
    assert np.allclose(smooth.rotation, steady.rotation, atol=1e-6)
    assert np.allclose(smooth.translation, steady.translation)
