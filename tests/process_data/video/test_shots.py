import numpy as np
import pytest

from nerfblendshape_ns.process_data.video.shots import (
    ChangeMeter,
    find_cuts,
    find_shots,
    left_out,
    name_times,
)


def scene(seed):
    """A smooth random picture and a disc that moves a little, 64 x 64."""
    small = np.random.default_rng(seed).uniform(30, 220, (4, 4, 3))
    rows, columns = np.mgrid[:64, :64]
    background = small[rows // 16, columns // 16]

    def frame(index, offset=0.0):
        picture = background.copy()
        centre = 30 + 3 * np.sin(0.4 * index) + offset
        picture[(rows - 34) ** 2 + (columns - centre) ** 2 < 200] = 128
        return picture

    return frame


def measure(pictures):
    meter = ChangeMeter()
    for picture in pictures:
        meter.add(np.clip(picture, 0, 255).astype(np.uint8))
    return meter.changes()


def test_cuts_are_found_where_they_are_and_motion_is_none():
    first, second = scene(0), scene(1)
    cuts, jumps = find_cuts(measure([first(i) for i in range(20)] + [second(i) for i in range(15)] + [first(0)] * 5))
    assert cuts.tolist() == [20, 35] and len(jumps) == 0
    cuts, jumps = find_cuts(measure([first(i) for i in range(40)]))
    assert len(cuts) == 0 and len(jumps) == 0


@pytest.mark.parametrize("repeats", [2, 4, 8])
def test_frames_written_several_times_are_no_jumps(repeats):
    # A camera in a restless hand: every picture is shifted by a pixel against the one before.
    pictures = [np.roll(picture(0), i, axis=1) for picture in (scene(0), scene(1)) for i in range(20)]
    assert np.median(measure(pictures).change) > 3
    cuts, jumps = find_cuts(measure(pictures))
    assert cuts.tolist() == [20] and len(jumps) == 0
    cuts, jumps = find_cuts(measure([picture for picture in pictures for _ in range(repeats)]))
    assert cuts.tolist() == [20 * repeats] and len(jumps) == 0


def test_a_flash_is_no_cut():
    first = scene(0)
    pictures = [first(i) for i in range(30)]
    pictures[12] = 255 - 0.2 * pictures[12][::-1]
    cuts, jumps = find_cuts(measure(pictures))
    assert len(cuts) == 0 and len(jumps) == 0


def test_a_jump_inside_a_scene_is_reported_from_a_cut():
    first = scene(0)
    cuts, jumps = find_cuts(measure([first(0)] * 15 + [first(0, offset=11.0)] * 15))
    assert len(cuts) == 0 and jumps.tolist() == [15]


def test_black_and_fade_are_left_out_at_both_ends():
    first = scene(0)
    black = [np.zeros((64, 64, 3))] * 6
    rising = [first(i) * share for i, share in enumerate((0.2, 0.4, 0.6, 0.8))]
    pictures = black + rising + [first(i) for i in range(20)] + rising[::-1] + black
    changes = measure(pictures)
    times = np.arange(len(pictures)) / 25
    cuts, _ = find_cuts(changes)
    assert len(cuts) == 0
    (shot,) = find_shots(changes, [], times)
    assert shot.tolist() == list(range(10, 30))
    assert left_out(times, shot) == "the first 0.40 s and the last 0.40 s"


@pytest.mark.parametrize("before, after", [(1, 0), (0, 1), (3, 0), (2, 2)])
def test_stray_frames_at_an_end_are_no_shot(before, after):
    first, other = scene(0), scene(1)
    pictures = [other(i) for i in range(before)] + [first(i) for i in range(20)] + [other(i) for i in range(after)]
    changes, times = measure(pictures), np.arange(20 + before + after) / 25
    cuts, _ = find_cuts(changes)
    (shot,) = find_shots(changes, cuts.tolist(), times)
    assert shot.tolist() == list(range(before, before + 20))
    text = left_out(times, shot)
    assert text is not None and (f"first {before / 25:.2f} s" in text) == (before > 0)


def test_a_short_scene_is_a_shot():
    first, other = scene(0), scene(1)
    changes = measure([other(i) for i in range(6)] + [first(i) for i in range(20)])
    cuts, _ = find_cuts(changes)
    assert [len(shot) for shot in find_shots(changes, cuts.tolist(), np.arange(26) / 25)] == [6, 20]


@pytest.mark.parametrize("level", [0, 255])
def test_a_first_frame_of_one_colour_is_left_out(level):
    first = scene(0)
    changes, times = measure([np.full((64, 64, 3), level)] + [first(i) for i in range(20)]), np.arange(21) / 25
    cuts, jumps = find_cuts(changes)
    (shot,) = find_shots(changes, cuts.tolist(), times)
    assert len(cuts) == 0 and len(jumps) == 0 and left_out(times, shot) == "the first 0.04 s"


def test_without_black_nothing_is_left_out():
    first = scene(0)
    changes = measure([first(i) * (0.6 if i < 5 else 1.0) for i in range(20)])
    (shot,) = find_shots(changes, [], np.arange(20) / 25)
    assert len(shot) == 20 and left_out(np.arange(20) / 25, shot) is None


def test_a_black_frame_in_the_middle_is_dropped_and_splits_nothing():
    first = scene(0)
    pictures = [first(0)] * 10 + [np.zeros((64, 64, 3))] + [first(0)] * 10
    changes = measure(pictures)
    assert changes.blank.tolist() == [index == 10 for index in range(21)]
    cuts, jumps = find_cuts(changes)
    assert len(cuts) == 0 and len(jumps) == 0
    assert find_shots(changes, [], np.arange(21) / 25)[0].tolist() == [*range(10), *range(11, 21)]


def test_a_small_image_on_one_colour_is_not_blank():
    picture = np.full((64, 64, 3), 128.0)
    picture[30:36, 30:36] = 20
    assert not measure([picture]).blank[0]


def test_times_as_text():
    assert name_times([1.523, 3.0]) == "1.52 s, 3.00 s"
    assert name_times(np.arange(10.0)).endswith(", 7.00 s, 2 more")


@pytest.mark.parametrize("count", [0, 1])
def test_hardly_any_frames(count):
    changes = measure([scene(0)(0)] * count)
    assert len(find_cuts(changes)[0]) == 0
