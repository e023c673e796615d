import numpy as np

from nerfblendshape_ns.process_data.video.letterbox import BarFinder


def content(frames):
    finder = BarFinder()
    for frame in frames:
        finder.add(np.clip(frame, 0, 255).astype(np.uint8))
    return finder.content()


def noise(height, width, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (height, width, 3))


def test_bars_above_and_below():
    frame = np.full((120, 160, 3), 3.0)
    frame[20:100] = noise(80, 160)
    # Two lines at each edge may be darkened by compression and are given up with the bar.
    assert content([frame]) == (0, 22, 160, 76)


def test_bars_left_and_right_seen_over_several_frames():
    frames = []
    for seed in range(4):
        frame = np.zeros((100, 160, 3))
        frame[:, 50:110] = noise(100, 60, seed) * (0.05 if seed == 0 else 1)
        frames.append(frame)
    assert content(frames) == (52, 0, 56, 100)


def test_a_dark_room_is_no_bar():
    # A head in front of black: the first lit column is lit in a few rows only.
    frame = np.zeros((120, 160, 3))
    rows, columns = np.mgrid[:120, :160]
    frame[(rows - 60) ** 2 + (columns - 80) ** 2 < 40**2] = 150
    assert content([frame]) is None
    # One dark side is a dark side.
    frame = noise(120, 160)
    frame[:, :30] = 0
    assert content([frame]) is None


def test_a_full_image_and_nothing_at_all():
    assert content([noise(90, 90)]) is None
    assert content([np.zeros((90, 90, 3))]) is None
    assert BarFinder().content() is None
