import cv2
import numpy as np

from nerfblendshape_ns.process_data.labels.guided_filter import ColourGuide


def test_guided_filter_keeps_edges_and_affine_images():
    generator = np.random.default_rng(1)
    guide = generator.random((40, 50, 3)).astype(np.float32)
    filtered = ColourGuide(guide, radius=4, epsilon=1e-6)
    affine = guide @ np.array([0.5, -0.2, 0.3], np.float32) + 0.1
    np.testing.assert_allclose(filtered.filter(affine), affine, atol=1e-3)
    np.testing.assert_allclose(filtered.filter(np.full((40, 50), 0.7, np.float32)), 0.7, atol=1e-4)

    # A mask that is two pixels off an edge of the picture moves onto it when it is brought to full size.
    large = np.zeros((64, 64, 3), np.float32)
    large[:, 32:] = 0.8
    small = cv2.resize(large, (32, 32), interpolation=cv2.INTER_AREA)
    mask = np.zeros((32, 32), np.float32)
    mask[:, 18:] = 1
    sharp = ColourGuide(small, radius=4, epsilon=1e-4).upsample(mask, cv2.split(large))
    assert sharp.shape == (64, 64)
    assert ((sharp[:, 20:44] > 0.5) == (large[:, 20:44, 0] > 0.5)).mean() > 0.95
