import cv2
import numpy as np
import pytest

from nerfblendshape_ns.process_data.pose.background_motion import measure

SIZE = 160


def room(seed=0, size=400):
    noise = np.random.default_rng(seed).normal(size=(size, size)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.repeat(np.clip(128 + 50 * smooth / smooth.std(), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


class Clip:
    """Windows into a room, with a person in the middle whose texture moves by itself."""

    def __init__(self, offsets, wall=None, sway=0):
        self.offsets, self.sway = offsets, sway
        self.wall, self.cloth = room() if wall is None else wall, room(1)

    def __len__(self):
        return len(self.offsets)

    def __getitem__(self, index):
        x, y = self.offsets[index]
        shift = np.float32([[1, 0, -100 - x], [0, 1, -100 - y]])
        picture = cv2.warpAffine(self.wall, shift, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
        sway = int(self.sway * np.sin(index))
        picture[50:, 50:110] = self.cloth[50:160, 80 + sway : 140 + sway]
        return picture


class Labels:
    def __getitem__(self, index):
        labels = np.zeros((SIZE, SIZE), np.uint8)
        labels[50:, 50:110] = 1
        return labels


def quiet(_):
    return None


def test_a_still_camera_stands_still_while_the_person_moves():
    motion = measure(Clip([(0, 0)] * 20, sway=15), Labels(), 5.0, quiet)
    assert motion.tracked_fraction == 1 and motion.drift < 0.2 and motion.zoom < 0.002


def test_a_pan_is_measured_in_pixels_of_a_512_pixel_image():
    motion = measure(Clip([(1.5 * index, 0.0) for index in range(20)], sway=15), Labels(), 5.0, quiet)
    assert motion.tracked_fraction == 1
    # 28.5 pixels of 160 are 91 of 512; the background goes the other way.
    assert motion.drift == pytest.approx(28.5 * 512 / SIZE, rel=0.03)
    assert motion.shift[-1, 0] == pytest.approx(-91, rel=0.03) and abs(motion.shift[-1, 1]) < 1


def test_five_frames_per_second_are_sampled():
    done = []
    motion = measure(Clip([(0, 0)] * 30), Labels(), 25.0, done.append)
    assert motion.frames.tolist() == [0, 5, 10, 15, 20, 25] and len(done) == 6


def test_a_jump_too_far_to_be_followed_is_told():
    offsets = [(0.0, 0.0)] * 10 + [(60.0, 40.0)] * 10
    assert measure(Clip(offsets, sway=15), Labels(), 5.0, quiet).jumps == [10]
    # A person who hides nearly all of the background for a moment is no jump.
    labels = [np.ones((SIZE, SIZE), np.uint8) if index == 10 else Labels()[index] for index in range(20)]
    assert measure(Clip([(0.0, 0.0)] * 20, sway=15), labels, 5.0, quiet).jumps == []
    # Nor is a light that goes off.
    clip = Clip([(0.0, 0.0)] * 20)
    dark = [clip[index] // (4 if index >= 10 else 1) for index in range(20)]
    assert measure(dark, Labels(), 5.0, quiet).jumps == []


def test_a_plain_wall_tells_nothing():
    wall = np.full((400, 400, 3), 150, np.uint8)
    motion = measure(Clip([(0, 0)] * 10, wall, sway=15), Labels(), 5.0, quiet)
    assert motion.tracked_fraction <= 0.1 and motion.drift == 0
