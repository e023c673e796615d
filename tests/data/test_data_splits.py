import numpy as np
import pytest

from nerfblendshape_ns.data.splits import split_frames
from nerfblendshape_ns.errors import UserError


@pytest.mark.parametrize(
    ("num_frames", "train", "val", "test"),
    # 2 % of the frames before test, at least 2, at most 50; 10 % of a short clip is test, 500 frames of a long one.
    [(20, 16, 2, 2), (200, 176, 4, 20), (2499, 2205, 45, 249), (2500, 1960, 40, 500), (6000, 5450, 50, 500)],
)
def test_default_split(num_frames, train, val, test):
    splits = split_frames(num_frames)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (train, val, test)
    np.testing.assert_array_equal(np.concatenate([splits.train, splits.val, splits.test]), np.arange(num_frames))


def test_asked_split():
    splits = split_frames(10, test_frames=3, val_frames=1)
    assert splits.train.tolist() == [0, 1, 2, 3, 4, 5]
    assert splits.val.tolist() == [6]
    assert splits.test.tolist() == [7, 8, 9]


def test_too_few_frames():
    with pytest.raises(UserError, match="the clip has 40 frames, fewer than 500 for test, 2 for validation and one"):
        split_frames(40, test_frames=500)


@pytest.mark.parametrize(("test", "val", "option"), [(0, 1, "--test-frames is 0"), (1, -2, "--val-frames is -2")])
def test_no_frames_asked(test, val, option):
    with pytest.raises(UserError, match=f"{option} but at least one frame is needed"):
        split_frames(10, test, val)
