"""What is before the face: a hand, a pen, a microphone.

Both sources of labels take the inside of the face's outline for head. But the landmarks take every frame's face into
one chart, where a point of the skin stays in place, and what is before the face differs there from what the clip shows
at that point otherwise. It comes from outside, so it crosses the face's outline in some frame: a furrowed cheek or a
glint on glasses does not. What has just the colour of the skin, and what is there in half of the frames, is not found.
"""

from __future__ import annotations

from typing import Sequence, Tuple

import cv2
import numpy as np
from scipy import ndimage
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import Delaunay

from nerfblendshape_ns.common.frame_numbers import spread
from nerfblendshape_ns.common.parallel import ordered_map
from nerfblendshape_ns.data.contract import MESH_POINTS, Label
from nerfblendshape_ns.process_data.labels.face_layout import CHIN, FACE_OVAL, FEATURES, TOP, HeadFrame, disc

CHART = 64
"""Height of the chart in cells."""
MARGIN = 0.05
"""Width in face heights of the rim of the face that is not looked at: hair and jaw come and go there."""
MODEL_FRAMES = 200
"""Frames, spread over the clip, that show what each point of the face looks like otherwise."""
LEAST_SPREAD = np.array([1.5, 1.0, 1.0], np.float32)
"""Least standard deviation of a point's colour, in CIE Lab."""
SURE, POSSIBLE = 8.0, 4.0
"""Differences in standard deviations: from the first on something is before the face, if it crosses the outline; it
extends as far as the second. On six real clips with nothing before the face, this finds nothing."""
LEAST_AREA = 0.015
"""Fraction of the face that must surely be hidden in some frame; less is noise."""
LEAST_STRETCH = 0.5
"""Cells of the chart that cover less than this fraction of their usual area in a frame are turned away."""
RIM = 2
"""Width in cells of the outline that something before the face must cross."""


class Occlusion:
    """Finds what is before the face in the frames of a clip.

    Args:
        frames: uint8 RGB ``[height, width, 3]`` images of one size; anything with a length that can be indexed.
        landmarks: float ``[frames, 478, 2]`` pixels, Face Landmarker order, no NaN.
    """

    def __init__(self, frames: Sequence[np.ndarray], landmarks: np.ndarray) -> None:
        self._landmarks = landmarks[:, :MESH_POINTS].astype(np.float64)
        head_frame = HeadFrame(landmarks)
        chosen = spread(len(landmarks), MODEL_FRAMES)
        aligned = [head_frame.to_canonical(frame, self._landmarks[frame]) for frame in chosen]
        points = np.asarray(np.median(aligned, axis=0))
        outline = points[list(FACE_OVAL)]
        self._points = (points - outline.min(0)) * (CHART / np.ptp(outline[:, 1]))
        self._shape = (CHART, int(np.ceil(self._points[list(FACE_OVAL), 0].max())))
        self._inside = _within(self._points[list(FACE_OVAL)], self._shape, MARGIN * CHART)
        features = [cv2.convexHull(self._points[list(group)].astype(np.float32))[:, 0] for group in FEATURES]
        self._skin = self._inside & ~np.any([_within(one, self._shape, 0.0) for one in features], axis=0)
        triangles = Delaunay(self._points)
        cells = np.stack(np.meshgrid(*(np.arange(size) + 0.5 for size in self._shape[::-1])), -1).reshape(-1, 2)
        found = triangles.find_simplex(cells)
        self._corners = triangles.simplices[found]
        affine = triangles.transform[found]
        first = np.einsum("nij,nj->ni", affine[:, :2], cells - affine[:, 2])
        self._weights = np.concatenate([first, 1.0 - first.sum(1, keepdims=True)], 1)

        def areas(frame: int) -> np.ndarray:
            return _areas(self._places(frame) / head_frame.face_height(frame))

        least = LEAST_STRETCH * np.median([areas(frame) for frame in chosen], axis=0)
        self._usable = np.stack([self._inside & (areas(frame) > least) for frame in range(len(landmarks))])
        charts = np.stack(list(ordered_map(lambda frame: self._chart(frames[frame], frame), range(len(frames)))))
        self._hidden = self._find(charts, chosen)

    def mark(self, labels: np.ndarray, frame: int) -> np.ndarray:
        """Labels of a frame with :attr:`Label.OCCLUDED` where something is before its face.

        That is what was found, and what the labels themselves say is no head well inside the face's outline.

        Args:
            labels: uint8 ``[height, width]``.
            frame: its index.
        """
        points = self._landmarks[frame]
        height = float(np.linalg.norm(points[CHIN] - points[TOP]))
        outline = points[list(FACE_OVAL)]
        inside = _within(outline, labels.shape, MARGIN * height)
        holes = inside & (labels != Label.HEAD)
        if 2 * np.count_nonzero(holes) > np.count_nonzero(inside):  # Labels without a head, not one with a hole.
            holes[:] = False
        _, pieces = cv2.connectedComponents(holes.astype(np.uint8))
        hidden = (np.bincount(pieces.ravel()) >= 0.01 * height**2)[pieces] & holes
        if self._hidden[frame].any():
            hidden |= self._to_pixels(self._hidden[frame], points, labels.shape)
        if not hidden.any():
            return labels
        grown = cv2.dilate(hidden.astype(np.uint8), disc(MARGIN * height)) > 0
        return np.where(grown & _within(outline, labels.shape, 0.0), np.uint8(Label.OCCLUDED), labels)

    def _places(self, frame: int) -> np.ndarray:
        """Where the chart's cells are in a frame: pixels ``[rows, columns, 2]``."""
        corners = self._landmarks[frame][self._corners]
        return (corners * self._weights[..., None]).sum(1).reshape(*self._shape, 2)

    def _chart(self, image: np.ndarray, frame: int) -> np.ndarray:
        """The face of a frame in the chart, uint8 RGB ``[rows, columns, 3]``."""
        points = self._landmarks[frame]
        height, width = image.shape[:2]
        # The image gets about a pixel to a cell, so that nothing is skipped.
        scale = min(1.0, 1.2 * CHART / max(1.0, float(np.linalg.norm(points[CHIN] - points[TOP]))))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        places = (self._places(frame) * np.array([size[0] / width, size[1] / height]) - 0.5).astype(np.float32)
        return cv2.remap(small, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def _find(self, charts: np.ndarray, chosen: Sequence[int]) -> np.ndarray:
        """Which cells something hides, bool ``[frames, rows, columns]``, of charts of all frames."""
        samples = np.stack([_lab(charts[frame]) for frame in chosen])
        usual = np.median(samples, axis=0)
        for _ in range(2):
            usual_light = [sample - self._light(sample - usual, frame) for sample, frame in zip(samples, chosen)]
            usual = np.median(usual_light, axis=0)
        deviation = 1.4826 * np.median(np.abs(np.stack(usual_light) - usual), axis=0)
        scatter = np.maximum(ndimage.gaussian_filter(deviation, (1.5, 1.5, 0)), LEAST_SPREAD)
        sure = np.zeros((len(charts), *self._shape), dtype=bool)
        possible = np.zeros_like(sure)
        for frame, chart in enumerate(charts):
            difference = _lab(chart) - usual
            difference = ndimage.gaussian_filter(difference - self._light(difference, frame), (0.7, 0.7, 0))
            distance = np.sqrt(((difference / scatter) ** 2).sum(-1))
            sure[frame] = (distance > SURE) & self._usable[frame]
            possible[frame] = (distance > POSSIBLE) & self._usable[frame]
        # Pieces of skin are connected in time as well, to the same cell of the next frame. Mouth and eyes open and
        # close: they are hidden where the skin beside them is, in the same frame.
        pieces, count = _pieces(possible & self._skin)
        rim = self._inside & ~_within(self._points[list(FACE_OVAL)], self._shape, MARGIN * CHART + RIM)
        kept = largest_areas(pieces, sure, count) >= LEAST_AREA * np.count_nonzero(self._inside)
        crossing = np.zeros(count + 1, dtype=bool)
        crossing[pieces[sure & rim]] = True
        found = (kept & crossing)[pieces] & (pieces > 0)
        hidden = np.zeros_like(possible)
        for frame in np.flatnonzero(found.any((1, 2))):
            pieces, count = _pieces(possible[frame])
            touched = np.zeros(count + 1, dtype=bool)
            touched[pieces[found[frame]]] = True
            hidden[frame] = touched[pieces]
        return hidden

    def _light(self, difference: np.ndarray, frame: int) -> np.ndarray:
        """The part of a difference that is linear in the chart, as light makes it when a head turns; robust."""
        rows, columns = self._shape
        y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
        basis = np.stack([np.ones_like(x), x, y], -1).reshape(-1, 3)
        used = (self._skin & self._usable[frame]).ravel()
        slopes, values = basis[used], difference.reshape(-1, 3)[used]
        weights = np.ones(len(values))
        solution = np.zeros((3, 3))
        for _ in range(4):
            weighted = slopes * weights[:, None]
            solution = np.linalg.solve(weighted.T @ slopes + 1e-3 * np.eye(3), weighted.T @ values)
            residual = np.linalg.norm(values - slopes @ solution, axis=1)
            scale = max(1.4826 * float(np.median(residual)), 1.0) if len(residual) else 1.0
            weights = 1.0 / (1.0 + (residual / scale) ** 2) ** 2
        return (basis @ solution).reshape(difference.shape).astype(np.float32)

    def _to_pixels(self, cells: np.ndarray, points: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """The pixels of a frame that show cells of the chart, bool ``[height, width]``."""
        rows, columns = np.nonzero(_within(points[list(FACE_OVAL)], shape, 0.0))
        places = LinearNDInterpolator(points, self._points)(np.stack([columns, rows], -1) + 0.5)
        known = np.isfinite(places).all(1)
        rows, columns, places = rows[known], columns[known], np.floor(places[known]).astype(int)
        places = places.clip(0, np.array(self._shape[::-1]) - 1)
        pixels = np.zeros(tuple(shape), dtype=bool)
        pixels[rows, columns] = cells[places[:, 1], places[:, 0]]
        return pixels


def _pieces(mask: np.ndarray) -> Tuple[np.ndarray, int]:
    """Pieces of a mask whose cells share sides, numbered from 1, and how many there are."""
    pieces = np.zeros(mask.shape, np.int32)
    return pieces, int(ndimage.label(mask, output=pieces))  # type: ignore[arg-type]


def largest_areas(pieces: np.ndarray, counted: np.ndarray, count: int) -> np.ndarray:
    """The most cells that each piece has in one frame; memory does not grow with frames times pieces.

    Args:
        pieces: int ``[frames, rows, columns]``, numbers of the pieces from 1, 0 where there is none.
        counted: bool of the same shape, the cells that count.
        count: how many pieces there are.

    Returns:
        int ``[count + 1]``, by the piece's number.
    """
    largest = np.zeros(count + 1, dtype=np.int64)
    for frame, counts in zip(pieces, counted):
        numbers, areas = np.unique(frame[counts], return_counts=True)
        largest[numbers] = np.maximum(largest[numbers], areas)
    return largest


def _lab(chart: np.ndarray) -> np.ndarray:
    """CIE Lab, float32: lightness to 100."""
    return cv2.cvtColor(chart.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)


def _areas(places: np.ndarray) -> np.ndarray:
    """Signed area of each cell, smoothed, from the places ``[rows, columns, 2]`` of their centres."""
    down, right = np.gradient(places, axis=0), np.gradient(places, axis=1)
    return ndimage.gaussian_filter(right[..., 0] * down[..., 1] - right[..., 1] * down[..., 0], 1.0)


def _within(outline: np.ndarray, shape: Sequence[int], margin: float) -> np.ndarray:
    """Pixels inside an outline by more than a margin, bool ``[height, width]``."""
    mask = np.zeros((shape[0] + 2, shape[1] + 2), np.uint8)
    cv2.fillPoly(mask, [np.rint((outline + 0.5) * 16).astype(np.int32)], (1,), shift=4)
    mask[[0, -1]] = mask[:, [0, -1]] = 0
    return cv2.distanceTransform(mask, cv2.DIST_L2, 5)[1:-1, 1:-1] > margin
