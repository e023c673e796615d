import numpy as np
import pytest

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.process_data.video.frame_selection import is_irregular, own_rate, select_frames


def test_a_steady_video_keeps_all_or_the_nearest_to_each_instant():
    times = np.arange(60) / 30
    selection = select_frames(times, None)
    assert len(selection.indices) == 60 and selection.fps == pytest.approx(30) and not selection.variable
    selection = select_frames(times, 15.0)
    assert selection.indices.tolist() == list(range(0, 60, 2)) and selection.fps == 15.0
    # A higher rate than the video's own repeats nothing.
    selection = select_frames(times, 120.0)
    assert len(selection.indices) == 60 and selection.fps == pytest.approx(30) and selection.num_repeated == 0
    selection = select_frames(times, 25.0)
    assert np.all(np.diff(selection.indices) >= 1) and abs(len(selection.indices) - 50) <= 1
    assert select_frames(times, None, max_frames=12).indices.tolist() == list(range(12))


def test_times_rounded_to_milliseconds_give_the_exact_rate():
    times = np.round(np.arange(90) / 30, 3)
    assert own_rate(times, is_irregular(times)) == pytest.approx(30, abs=0.01)
    assert own_rate(np.arange(50) * 1001 / 30000, False) == pytest.approx(29.97, abs=0.001)
    # A gap of a second in a steady video changes nothing.
    times = np.concatenate([np.arange(50) / 25, 3 + np.arange(50) / 25])
    assert own_rate(times, is_irregular(times)) == pytest.approx(25)


def test_a_variable_rate_becomes_a_constant_one():
    # Of thirty frames a second, every fourth and fifth are missing.
    times = np.array([index / 30 for index in range(90) if index % 5 < 3])
    assert is_irregular(times)
    selection = select_frames(times)
    assert selection.variable and selection.fps == 30
    assert np.allclose(np.diff(selection.times), 1 / 30)
    # The image at each instant is the frame nearest to it in time.
    assert np.abs(times[selection.indices] - selection.times).max() < 1.01 / 30
    assert selection.indices[:7].tolist() == [0, 1, 2, 2, 3, 3, 4]
    assert selection.num_repeated == len(selection.indices) - len(times)
    slower = select_frames(times, 10.0)
    assert slower.fps == 10 and slower.num_repeated == 0 and np.allclose(np.diff(slower.times), 0.1)


def test_a_pause_is_not_filled_with_one_frame():
    """Of thirty frames a second, every fifth is missing, and a day between the two halves of the recording."""
    half = np.array([index / 30 for index in range(60) if index % 5 < 4])
    times = np.concatenate([half, 86400 + half])
    selection = select_frames(times)
    # Half a second of the last frame before the pause and of the first one after it.
    assert selection.variable and 145 <= len(selection.indices) <= 155
    steps = np.diff(selection.times)
    assert (steps > 0).all() and np.isclose(steps, 1 / 30).sum() == len(steps) - 1
    assert np.abs(times[selection.indices] - selection.times).max() <= 0.5 + 1e-9


def test_blank_frames_that_were_left_out_are_no_variable_frame_rate():
    whole = np.arange(50) * 1001 / 24000
    times = np.delete(whole, slice(20, 33))
    selection = select_frames(times, whole=whole)
    assert selection.indices.tolist() == list(range(37)) and (selection.times == times).all()
    assert not selection.variable and selection.fps == pytest.approx(23.976, abs=0.001)


def test_too_few_frames_say_how_many_are_needed():
    with pytest.raises(UserError, match="gives only 3 frames and at least 10 are needed"):
        select_frames(np.arange(3) / 25)
    with pytest.raises(UserError, match="longer video, a wider --start to --end, or a higher --fps"):
        select_frames(np.arange(100) / 25, 1.0)


def test_irregular_times_are_noticed():
    assert not is_irregular(np.arange(100) / 30)
    assert is_irregular(np.cumsum(np.where(np.arange(100) % 5 == 0, 0.08, 0.033)))


@pytest.mark.parametrize("fps", [15, 24, 30, 60, 120, 240])
def test_a_steady_rate_rounded_to_milliseconds_is_steady(fps):
    selection = select_frames(np.round(np.arange(600) / fps, 3))
    assert not selection.variable and selection.num_repeated == 0 and len(selection.indices) == 600
    assert selection.fps == pytest.approx(fps, rel=1e-3)


def test_times_that_no_camera_gives_are_refused():
    with pytest.raises(UserError, match="own times give 90,000 frames per second, which no camera has; write it again"):
        select_frames(np.arange(100) / 90000)
