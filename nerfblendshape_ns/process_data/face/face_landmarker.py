"""MediaPipe's Face Landmarker: its three networks run by LiteRT, the steps between them in NumPy.

``face_landmarker.task`` is a zip of three TFLite networks. In every image, or in a video wherever a face is not being
followed yet, the *detector* looks at the whole image in 128 pixels and gives boxes and six key points. The face's
*region*, a rectangle turned with the eyes, is cut out, 256 pixels square, for the *mesh* network, which gives 478
landmarks and the probability of a face. The *blendshapes* network turns 146 of the landmarks into
coefficients. In a video the landmarks also give the next frame's region, and a single face's are smoothed in time.

Images are uint8 RGB ``[height, width, 3]``; all coordinates are pixels of the image, all angles radians clockwise. The
constants and the order of the steps are those of MediaPipe 0.10.9 (Apache License 2.0; see NOTICE).
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Callable, List, NamedTuple, Optional, Tuple

import cv2
import numpy as np
from scipy.special import expit

from nerfblendshape_ns.common.arrays import DAMAGED_ZIP
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.process_data.face.canonical_face import NUM_LANDMARKS
from nerfblendshape_ns.process_data.face.one_euro_filter import OneEuroFilter
from nerfblendshape_ns.process_data.networks.litert import Network

DETECTOR, MESH, BLENDSHAPES = "face_detector.tflite", "face_landmarks_detector.tflite", "face_blendshapes.tflite"
DETECTOR_SIDE, MESH_SIDE = 128, 256
# The detector's cells: so many to a side, each with so many boxes.
CELLS = ((16, 2), (8, 6))
# Scores from which a detection counts, and a region holds a face.
LEAST_DETECTION = LEAST_PRESENCE = 0.5
# Detections that share more than this of their union are the same face, and so are a detection and a followed region.
SAME_FACE = 0.5
# Regions are so much larger than the box of a detection, or of the landmarks.
MARGIN = 1.5
# Key points of a detection and landmarks of the mesh that lie on the line of the eyes, left to right in the image.
DETECTED_EYES, MESH_EYES = (0, 1), (33, 263)

# The landmarks from which the coefficients are computed: brows, eyes, lips, the face's outline, the irises.
EXPRESSIVE = np.array(
    """0 1 4 5 6 7 8 10 13 14 17 21 33 37 39 40 46 52 53 54 55 58 61 63 65 66 67 70 78 80 81 82 84 87 88 91 93 95 103
    105 107 109 127 132 133 136 144 145 146 148 149 150 152 153 154 155 157 158 159 160 161 162 163 168 172 173 176
    178 181 185 191 195 197 234 246 249 251 263 267 269 270 276 282 283 284 285 288 291 293 295 296 297 300 308 310
    311 312 314 317 318 321 323 324 332 334 336 338 356 361 362 365 373 374 375 377 378 379 380 381 382 384 385 386
    387 388 389 390 397 398 400 402 405 409 415 454 466 468 469 470 471 472 473 474 475 476 477""".split(),
    dtype=np.int64,
)


Box = Tuple[float, float, float, float]
"""``(x0, y0, x1, y1)`` in pixels."""


class Region(NamedTuple):
    """A turned rectangle of the image."""

    x: float
    """The centre, like ``y``."""
    y: float
    width: float
    height: float
    angle: float

    def moved(self, x: float, y: float) -> Region:
        """The region at another place."""
        return self._replace(x=self.x + x, y=self.y + y)

    def place(self, points: np.ndarray) -> np.ndarray:
        """Points ``[n, 2]`` of the unit square, turned about its centre and *then* stretched over the region.

        For a region that is not square this is not quite :meth:`cut` undone, but it is what MediaPipe does.
        """
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        turned = (points - 0.5) @ np.array([[cosine, sine], [-sine, cosine]])
        return turned * (self.width, self.height) + (self.x, self.y)

    def cut(self, image: np.ndarray, side: int, border: int) -> np.ndarray:
        """The region as uint8 ``[side, side, 3]``, bilinear, its corners on the cut's corners."""
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        unit = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
        corners = (unit * (self.width, self.height)) @ np.array([[cosine, sine], [-sine, cosine]]) + (self.x, self.y)
        matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), ((unit + 0.5) * side).astype(np.float32))
        return cv2.warpPerspective(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=border)


class Face(NamedTuple):
    """What was measured of one face."""

    landmarks: np.ndarray
    """float32 ``[478, 3]`` pixels; z points away from the camera, in the units of x, from the middle of the head."""
    coefficients: np.ndarray
    """float32 ``[52]`` in 0..1, in the order of :data:`~nerfblendshape_ns.coefficient_names.arkit.MEDIAPIPE_NAMES`."""


Detector = Callable[..., List[Face]]
"""Finds the faces in a uint8 RGB image, one of successive frames where its time in milliseconds is given too."""


class FaceLandmarker:
    """Finds faces in single images, or follows them through the frames of one video (not by several threads at once).

    Args:
        model: ``face_landmarker.task``.
        video: follow faces from frame to frame, and smooth the landmarks of a single one.
        num_faces: how many faces are looked for at most.

    Raises:
        UserError: the file is not that model.
    """

    def __init__(self, model: Path, video: bool = False, num_faces: int = 1) -> None:
        try:
            with zipfile.ZipFile(model) as bundle:
                contents = {name: bundle.read(name) for name in (DETECTOR, MESH, BLENDSHAPES)}
        except (KeyError, OSError, *DAMAGED_ZIP) as error:
            raise UserError(f"{model} is no Face Landmarker model ({error}); fetch it again.") from error
        self._networks = {name: Network(content, model) for name, content in contents.items()}
        self._anchors = _anchors()
        self._video, self._num_faces = video, num_faces
        self._followed: List[Region] = []
        self._last: Optional[int] = None
        self._smoother = OneEuroFilter()

    def __call__(self, image: np.ndarray, milliseconds: int = 0) -> List[Face]:
        """The faces in an image, at most ``num_faces``.

        Raises:
            ValueError: this is a video and its time does not grow from frame to frame.
        """
        if self._video and self._last is not None and milliseconds <= self._last:
            raise ValueError(f"frame times must grow, and {milliseconds} ms follows {self._last} ms.")
        self._last = milliseconds
        regions = list(self._followed)
        if len(regions) < self._num_faces:
            for detected in self.detect(image)[: self._num_faces]:
                if self._video:
                    regions = [region for region in regions if overlap(_box(region), _box(detected)) <= SAME_FACE]
                regions.append(detected)
        found = [self.measure(image, region) for region in regions[: self._num_faces]]
        faces = [landmarks for landmarks, presence in found if presence > LEAST_PRESENCE]
        if self._video:
            self._followed = [_region_of_landmarks(landmarks) for landmarks in faces]
            if not faces:
                self._smoother = OneEuroFilter()  # Losing the face forgets the past.
            elif self._num_faces == 1:
                faces = [self._smoother(faces[0], milliseconds / 1000)]
        return [Face(landmarks.astype(np.float32), self.coefficients(landmarks)) for landmarks in faces]

    def detect(self, image: np.ndarray) -> List[Region]:
        """Regions of all faces that the detector sees in the whole image, likeliest first."""
        height, width = image.shape[:2]
        side = max(height, width)
        whole = Region(width / 2, height / 2, side, side, 0.0)
        pixels = whole.cut(image, DETECTOR_SIDE, cv2.BORDER_CONSTANT).astype(np.float32) * (2 / 255) - 1
        out = self._networks[DETECTOR](pixels)
        scores = expit(out["classificators"].reshape(-1).astype(np.float64))
        values = out["regressors"].reshape(len(scores), -1, 2).astype(np.float64) / DETECTOR_SIDE
        likely = np.flatnonzero((scores >= LEAST_DETECTION) & (values[:, 1] >= 0).all(-1))
        likely = likely[np.argsort(-scores[likely], kind="stable")]
        # One row a detection: two corners of its box, then its key points, all seen from the anchor.
        half = values[likely, 1] / 2
        corners = np.stack([values[likely, 0] - half, values[likely, 0] + half], axis=1)
        points = np.concatenate([corners, values[likely, 2:]], axis=1) + self._anchors[likely, None]
        regions = []
        for merged in _merge(points, scores[likely]):
            placed = whole.place(merged)
            centre, size = (placed[0] + placed[1]) / 2, (placed[1] - placed[0]) * MARGIN
            left, right = (placed[2 + eye] for eye in DETECTED_EYES)
            regions.append(Region(centre[0], centre[1], size[0], size[1], _angle(left, right)))
        return regions

    def measure(self, image: np.ndarray, region: Region) -> Tuple[np.ndarray, float]:
        """Landmarks ``[478, 3]`` of the face in a region, and how likely there is one."""
        pixels = region.cut(image, MESH_SIDE, cv2.BORDER_REPLICATE).astype(np.float32) / 255
        out = self._networks[MESH](pixels)
        points = out["Identity"].reshape(NUM_LANDMARKS, 3).astype(np.float64) / MESH_SIDE
        landmarks = np.column_stack([region.place(points[:, :2]), points[:, 2] * region.width])
        return landmarks, float(expit(out["Identity_1"].astype(np.float64)).reshape(()))

    def coefficients(self, landmarks: np.ndarray) -> np.ndarray:
        """Blendshape coefficients ``[52]`` of landmarks."""
        (out,) = self._networks[BLENDSHAPES](landmarks[EXPRESSIVE, :2]).values()
        return out.reshape(-1)


def _anchors() -> np.ndarray:
    """The points ``[896, 2]`` of the unit square that the detector's outputs are seen from: its cells' centres."""
    levels = []
    for cells, boxes in CELLS:
        centres = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(centres, centres, indexing="ij")
        levels.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=-1), boxes, axis=0))
    return np.concatenate(levels)


def _merge(points: np.ndarray, scores: np.ndarray) -> List[np.ndarray]:
    """Detections ``[n, points, 2]``, likeliest first, those of the same face averaged with their scores as weights."""
    merged = []
    while len(points):
        boxes = points[:, :2].reshape(-1, 4).tolist()
        same = np.array([overlap(other, boxes[0]) > SAME_FACE for other in boxes])
        same[0] = True
        merged.append(np.average(points[same], axis=0, weights=scores[same]))
        points, scores = points[~same], scores[~same]
    return merged


def _region_of_landmarks(landmarks: np.ndarray) -> Region:
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    side = float((high - low).max()) * MARGIN
    left, right = (landmarks[eye, :2] for eye in MESH_EYES)
    x, y = (low + high) / 2
    return Region(x, y, side, side, _angle(left, right))


def _angle(start: np.ndarray, end: np.ndarray) -> float:
    return float(np.arctan2(end[1] - start[1], end[0] - start[0]))


def _box(region: Region) -> Box:
    """The box of a region that is not turned."""
    x, y, width, height, _ = region
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def area(box: Box) -> float:
    """Area of a box."""
    return (box[2] - box[0]) * (box[3] - box[1])


def shared_area(first: Box, second: Box) -> float:
    """Area of the intersection of two boxes."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0.0) * max(height, 0.0)


def overlap(first: Box, second: Box) -> float:
    """Intersection over union of two boxes."""
    shared = shared_area(first, second)
    return shared / (area(first) + area(second) - shared) if shared else 0.0
