"""A person drawn as ellipses, whose labels are known, for the tests of masks."""

import cv2
import numpy as np

from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.process_data.labels.face_layout import FACE_OVAL

BACKGROUND, HEAD, NECK, TORSO = (int(label) for label in Label)
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


def drawn_person(landmarks: np.ndarray, size: int = 128, collar_colour=CLOTH):
    """A person as ellipses on a wall, and the true labels: hair cap, face, neck, shoulders."""
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
    oval = np.rint(landmarks[list(FACE_OVAL)]).astype(np.int32)
    paint(SKIN, HEAD, lambda mask: cv2.fillPoly(mask, [oval], 1))
    noise = np.random.default_rng(0).normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), truth


class DrawnPersonMask:
    """Stands in for the network: all that is not the wall's colour."""

    def __call__(self, frame):
        distance = np.abs(frame.astype(int) - np.array(WALL)).max(-1)
        mask = cv2.medianBlur((distance > 30).astype(np.uint8), 5)
        return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0)
