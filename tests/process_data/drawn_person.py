"""A person drawn as ellipses, whose labels are known, for the tests of masks."""

import cv2
import numpy as np

from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.process_data.labels.face_layout import FACE_OVAL

BACKGROUND, HEAD, NECK, TORSO = (int(label) for label in Label if label != Label.OCCLUDED)
SKIN, HAIR, CLOTH, WALL = (205, 150, 130), (60, 40, 25), (40, 60, 140), (150, 190, 160)


def drawn_landmarks(centre=(64.0, 50.0), half_width=18.0, half_height=24.0, jaw_open=0.0) -> np.ndarray:
    """478 landmarks of an elliptic face whose outline is exact; everything inside is placed roughly."""
    x, y = centre
    points = np.zeros((478, 2), np.float32)
    points[:] = (x, y)
    angles = np.linspace(-np.pi / 2, 1.5 * np.pi, len(FACE_OVAL), endpoint=False)
    for index, angle in zip(FACE_OVAL, angles):
        drop = jaw_open * max(0.0, np.sin(angle))
        points[index] = (x + half_width * np.cos(angle), y + half_height * np.sin(angle) + drop)
    eyes = {33: -10, 133: -4, 362: 4, 263: 10}
    for index, shift in eyes.items():
        points[index] = (x + shift, y - 6)
    for row, index in enumerate((151, 9, 8, 168, 6, 197, 195, 5)):
        points[index] = (x, y - 18 + 3 * row)
    points[98], points[327] = (x - 3, y + 6), (x + 3, y + 6)
    return points


def drawn_person(landmarks: np.ndarray, size: int = 128, collar_colour=CLOTH, wear=None):
    """A person as ellipses on a wall and what ``wear`` adds, and the true labels: hair cap, face, neck, shoulders."""
    image = np.full((size, size, 3), WALL, np.uint8)
    truth = np.zeros((size, size), np.uint8)
    centre = landmarks[list(FACE_OVAL)].mean(0)
    x, y = int(centre[0]), int(centre[1])

    def paint(colour, label, draw):
        mask = np.zeros((size, size), np.uint8)
        draw(mask)
        image[mask > 0] = colour
        truth[mask > 0] = label

    paint(collar_colour, TORSO, lambda mask: cv2.ellipse(mask, (x, y + 72), (48, 38), 0, 0, 360, 1, -1))
    paint(SKIN, NECK, lambda mask: cv2.rectangle(mask, (x - 10, y + 15), (x + 10, y + 40), 1, -1))
    paint(HAIR, HEAD, lambda mask: cv2.ellipse(mask, (x, y - 6), (22, 27), 0, 180, 360, 1, -1))
    if wear is not None:
        wear(paint, x, y)
    oval = np.rint(landmarks[list(FACE_OVAL)]).astype(np.int32)
    paint(SKIN, HEAD, lambda mask: cv2.fillPoly(mask, [oval], 1))
    noise = np.random.default_rng(0).normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), truth


def polygon(points):
    """Draws a filled polygon."""
    return lambda mask: cv2.fillPoly(mask, [np.array(points, np.int32)], 1)


def line(start, end, width):
    """Draws a line."""
    return lambda mask: cv2.line(mask, start, end, 1, width)


def dark_shirt(paint, x, y):
    """A T-shirt as dark as the hair over the lower half of the neck."""
    paint((62, 44, 38), TORSO, polygon([(x - 10, y + 32), (x + 10, y + 32), (x + 10, y + 44), (x - 10, y + 44)]))


def strands(paint, x, y):
    """A loose strand on either side, over the wall and the shoulder."""
    for side in (-1, 1):
        paint(HAIR, HEAD, line((x + side * 19, y - 8), (x + side * 25, y + 52), 2))


def pigtails(paint, x, y):
    """Two pigtails, tied beside the ear lobes."""
    outline = [(20, -10), (24, -8), (34, 12), (36, 40), (30, 56), (24, 40), (22, 14)]
    for side in (-1, 1):
        paint(HAIR, HEAD, polygon([(x + side * dx, y + dy) for dx, dy in outline]))
        paint((180, 40, 60), HEAD, line((x + side * 17, y + 3), (x + side * 27, y + 3), 3))


def earrings(paint, x, y):
    """A drop below either ear lobe."""
    for side in (-1, 1):
        paint((235, 190, 40), HEAD, polygon(cv2.ellipse2Poly((x + side * 20, y + 13), (4, 8), 0, 0, 360, 10)))


def long_hair(paint, x, y):
    """Hair down to the chest on either side."""
    outline = [(8, -24), (24, -10), (29, 20), (27, 66), (15, 66), (14, 20)]
    for side in (-1, 1):
        paint(HAIR, HEAD, polygon([(x + side * dx, y + dy) for dx, dy in outline]))


class DrawnPersonMask:
    """Stands in for the network: all that is not the wall's colour."""

    def __call__(self, frame):
        distance = np.abs(frame.astype(int) - np.array(WALL)).max(-1)
        mask = cv2.medianBlur((distance > 30).astype(np.uint8), 5)
        return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0)


class HeadAndShouldersMask(DrawnPersonMask):
    """Stands in for a network that does not know for a person's what hangs beside the head."""

    def __call__(self, frame):
        mask = super().__call__(frame)
        mask[30:76, :44] = mask[30:76, 86:] = 0
        return mask
