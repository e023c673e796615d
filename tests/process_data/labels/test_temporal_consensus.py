import cv2
import numpy as np

from nerfblendshape_ns.process_data.labels.temporal_consensus import OpticalFlow, temporal_consensus


def test_consensus_removes_flicker():
    grey = cv2.GaussianBlur(np.random.default_rng(2).integers(0, 255, (48, 64)).astype(np.uint8), (0, 0), 2)
    steady = np.zeros((2, 48, 64), np.float32)
    steady[1, 10:40, 10:50] = 0.9
    steady[0] = 1 - steady[1]
    flickering = steady.copy()
    flickering[1, 20:30, 20:30] = 0.2  # one frame loses a patch
    flickering[0] = 1 - flickering[1]
    window = [steady, steady, steady, flickering, steady, steady, steady]
    smooth = temporal_consensus(OpticalFlow(), [grey] * 7, window, 3)
    assert (smooth[1, 12:38, 12:48] > 0.5).all()
    assert (smooth[1, :8] < 0.1).all()
    np.testing.assert_allclose(smooth.sum(0), 1, atol=1e-5)


def test_consensus_follows_motion():
    generator = np.random.default_rng(3)
    texture = cv2.GaussianBlur(generator.integers(0, 255, (64, 96)).astype(np.uint8), (0, 0), 1.5)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    greys, window = [], []
    for shift in (-4, -2, 0, 2, 4):
        greys.append(np.ascontiguousarray(np.roll(texture, shift, axis=1)))
        probabilities = np.zeros((2, 64, 96), np.float32)
        probabilities[1, 20:44, 36 + shift : 60 + shift] = 1
        probabilities[0] = 1 - probabilities[1]
        window.append(probabilities)
    smooth = temporal_consensus(OpticalFlow(), greys, window, 2)
    # Averaged without motion the edge columns 36 and 59 would get about half.
    assert smooth[1, 24:40, 38:58].min() > 0.9
    assert smooth[1, 24:40, 36:60].mean() > 0.93
    assert smooth[1, 24:40, :32].max() < 0.1


def test_single_frame_window_changes_nothing():
    probabilities = np.full((4, 8, 8), 0.25, np.float32)
    grey = np.zeros((8, 8), np.uint8)
    np.testing.assert_array_equal(temporal_consensus(OpticalFlow(), [grey], [probabilities], 0), probabilities)
