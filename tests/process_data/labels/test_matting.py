import cv2
import numpy as np
import pytest
from drawn_person import HAIR, HEAD, TORSO

from nerfblendshape_ns.process_data.labels import matting


def person_matte(image, labels, face_height, plate=None, seen=None):
    """With a clean plate that no frame shows, unless one is given, of which by default all is seen."""
    if seen is None:
        seen = np.full(labels.shape, plate is not None)
    return matting.person_matte(image, labels, face_height, np.zeros_like(image) if plate is None else plate, seen)


SIZE, FACE_HEIGHT = 256, 140.0
HAIR_COLOUR, WALL_COLOUR = np.array(HAIR, float), np.array((190, 200, 180), float)


def hairy_disc(noise=3.0, wall=None):
    """A disc of hair with strands that stick out, its true opacity, and labels that know only the disc."""
    large = np.zeros((SIZE * 4, SIZE * 4), np.uint8)
    cv2.circle(large, (512, 512), 280, 255, -1)
    for angle in np.linspace(0, 2 * np.pi, 24, endpoint=False):
        tip = (int(512 + 310 * np.cos(angle)), int(512 + 310 * np.sin(angle)))
        cv2.line(large, (512, 512), tip, 255, 6)
    alpha = cv2.resize(large, (SIZE, SIZE), interpolation=cv2.INTER_AREA) / 255.0
    wall = np.broadcast_to(WALL_COLOUR, (SIZE, SIZE, 3)) if wall is None else wall
    image = alpha[..., None] * HAIR_COLOUR + (1 - alpha[..., None]) * wall
    image = image + np.random.default_rng(0).normal(0, noise, image.shape)
    labels = np.zeros((SIZE, SIZE), np.uint8)
    cv2.circle(labels, (128, 128), 70, HEAD, -1)
    return np.clip(image, 0, 255).astype(np.uint8), alpha, labels


def error(matte, alpha):
    return float(np.abs(matte / 255.0 - alpha).mean())


def test_strands_outside_the_labels_are_found():
    image, alpha, labels = hairy_disc()
    matte = person_matte(image, labels, FACE_HEIGHT)
    blurred = cv2.GaussianBlur((labels == HEAD).astype(np.float32), (0, 0), 1.0) * 255
    assert matte.dtype == np.uint8 and matte.shape == labels.shape
    assert error(matte, alpha) < 0.5 * error(blurred, alpha)
    strand = (alpha > 0.9) & (labels == 0)
    assert strand.sum() > 20 and matte[strand].mean() > 150
    # Far away nothing is doubtful.
    assert matte[128, 128] == 255 and matte[:20].max() == 0


def test_a_known_plate_helps_before_a_patterned_wall():
    columns, rows = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    checks = ((columns // 8 + rows // 8) % 2 == 0)[..., None]
    wall = np.where(checks, np.array([70.0, 50, 40]), WALL_COLOUR)
    image, alpha, labels = hairy_disc(wall=wall)
    plate = wall.astype(np.uint8)
    without, known = person_matte(image, labels, FACE_HEIGHT), person_matte(image, labels, FACE_HEIGHT, plate)
    assert error(known, alpha) < error(without, alpha)
    # Where the plate was made up it is not believed.
    unseen = np.zeros(labels.shape, bool)
    np.testing.assert_array_equal(person_matte(image, labels, FACE_HEIGHT, 255 - plate, unseen), without)


def test_a_plate_under_another_light_is_corrected():
    image, alpha, labels = hairy_disc()
    plate = np.broadcast_to(WALL_COLOUR - 25, image.shape).astype(np.uint8)
    assert error(person_matte(image, labels, FACE_HEIGHT, plate), alpha) < 0.02


def test_clothes_keep_a_narrow_edge():
    labels = np.zeros((SIZE, SIZE), np.uint8)
    labels[120:] = TORSO
    image = np.full((SIZE, SIZE, 3), 200, np.uint8)
    image[120:] = (40, 60, 140)
    image[105:112, 100:140] = (40, 60, 140)  # a patch of the same colour on the wall
    matte = person_matte(image, labels, FACE_HEIGHT)
    assert matte[:112].max() == 0 and matte[130:].min() == 255


@pytest.mark.parametrize("label, value", [(0, 0), (HEAD, 255)])
def test_a_image_without_an_outline_is_all_or_nothing(label, value):
    image = np.random.default_rng(1).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    assert (person_matte(image, np.full((32, 32), label, np.uint8), 20.0) == value).all()


def test_a_person_too_thin_for_a_core_keeps_the_labels(monkeypatch):
    labels = np.zeros((64, 64), np.uint8)
    labels[:, 30:32] = HEAD
    monkeypatch.setattr(matting, "INSIDE", 0.1)
    image = np.zeros((64, 64, 3), np.uint8)
    matte = person_matte(image, labels, 60.0)
    np.testing.assert_array_equal(matte, np.where(labels > 0, 255, 0))
