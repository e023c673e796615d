import numpy as np
import pytest

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.splits import protocol_name, split_frames


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


@pytest.mark.parametrize(
    ("protocol", "num_frames", "train", "val", "test"),
    [
        # Longer than its test frames by two of validation and one of training: as short as may be.
        ("last350", 353, 1, 2, 350),
        ("last350", 1000, 637, 13, 350),
        ("last500", 1000, 490, 10, 500),
        ("last500", 8000, 7450, 50, 500),
        # 22 x 10 // 11 = 20 and 1000 x 10 // 11 = 909 train and validate.
        ("radnerf", 22, 18, 2, 2),
        ("radnerf", 1000, 891, 18, 91),
    ],
)
def test_protocols_test_the_end_of_the_clip(protocol, num_frames, train, val, test):
    splits = split_frames(num_frames, protocol=protocol)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (train, val, test)
    np.testing.assert_array_equal(np.concatenate([splits.train, splits.val, splits.test]), np.arange(num_frames))


def test_radnerf_tests_what_the_dataset_holds_out_wherever_it_lies():
    splits = split_frames(10, val_frames=2, protocol="radnerf", held_out=[5, 2])
    assert splits.test.tolist() == [2, 5] and splits.val.tolist() == [8, 9]
    assert splits.train.tolist() == [0, 1, 3, 4, 6, 7]
    for asked in ({"protocol": "tail10"}, {"protocol": "radnerf", "test_frames": 1}):
        assert split_frames(10, held_out=[5, 2], **asked).test.tolist() == [9]


def test_a_protocol_with_a_number_of_its_own_is_called_after_it():
    assert protocol_name("last350") == "last350" and protocol_name("last350", 20) == "last20"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"num_frames": 352, "protocol": "last350"},
            "the clip has 352 frames, too few for the protocol last350: 350 for test, 2 for validation and at least "
            "one for training; give --protocol tail10 or --test-frames, or take a longer clip.",
        ),
        (
            {"num_frames": 40, "test_frames": 500, "protocol": "last350"},
            "the clip has 40 frames, too few for the protocol last500: 500 for test, 2 for validation and at least "
            "one for training; give smaller --test-frames and --val-frames, or take a longer clip.",
        ),
        (
            {"num_frames": 3},
            "the clip has 3 frames, too few for the protocol tail10: 1 for test, 2 for validation and at least one "
            "for training; give a smaller --val-frames, or take a longer clip.",
        ),
    ],
)
def test_too_few_frames(asked, message):
    with pytest.raises(UserError) as caught:
        split_frames(**asked)
    assert str(caught.value) == message


@pytest.mark.parametrize(("test", "val", "option"), [(0, 1, "--test-frames is 0"), (1, -2, "--val-frames is -2")])
def test_no_frames_asked(test, val, option):
    with pytest.raises(UserError, match=f"{option} but at least one frame is needed"):
        split_frames(10, test, val)
