"""Whether the camera moves: corners of the background tracked from frame to frame.

Head poses are found relative to the camera, so a moving camera does not spoil the head; but the clean plate, and a
torso drawn in the captured camera's frame, need a background that stays.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, List, Optional, Sequence, Tuple

import cv2
import numpy as np

from nerfblendshape_ns.data.contract import Label

# Frames sampled per second of video.
SAMPLES_PER_SECOND = 5.0
MOST_CORNERS, FEWEST_CORNERS = 300, 20
# Grey levels between the darkest and the brightest pixel around a corner.
LEAST_CONTRAST = 10
# Corners this near to the person (in pixels of a 512-pixel image) are left out: shadows and loose hair move there.
MARGIN = 32
# A corner is lost if, tracked forwards and backwards, it ends farther away than this many pixels.
FORWARD_BACKWARD_ERROR = 0.7
# A new key frame is taken when fewer than this fraction of its corners are left, or after this shift.
RENEW_FRACTION, RENEW_SHIFT = 0.4, 20.0
# Corners agree with one motion of the whole background within this many pixels; a motion that fewer than this fraction
# of them agree with, or that is seen in fewer than so many tiles of GRID x GRID in the image, is that of loose hair.
AGREEMENT, AGREEING_FRACTION = 1.5, 0.6
GRID, FEWEST_TILES = 6, 5
# Where so many samples in a row are tracked, then one is not, then as many are again, the background jumps if its
# corners no longer look alike there: a median correlation of patches of so many pixels below that.
STEADY_SAMPLES, PATCH, LEAST_LIKENESS = 3, 15, 0.5


@dataclass
class BackgroundMotion:
    """How the background moved in the image since the first sampled frame."""

    frames: np.ndarray
    """int ``[samples]``: frame numbers."""
    shift: np.ndarray
    """float64 ``[samples, 2]``: pixels of a 512-pixel image; NaN where it could not be tracked."""
    scale: np.ndarray
    """float64 ``[samples]``: size relative to the first frame."""
    jumps: List[int] = field(default_factory=list)
    """Frame numbers at which the background is another at once, as where a cut zooms in; shift and scale lack it."""

    @property
    def tracked_fraction(self) -> float:
        """Fraction of the samples in which the background could be tracked."""
        return float((~np.isnan(self.shift[:, 0])).mean())

    @property
    def drift(self) -> float:
        """Farthest shift between any two samples, in pixels of a 512-pixel image (along x or y); 0 if unknown."""
        if np.isnan(self.shift).all():
            return 0.0
        return float((np.nanmax(self.shift, axis=0) - np.nanmin(self.shift, axis=0)).max())

    @property
    def zoom(self) -> float:
        """Largest size over smallest, minus one."""
        if np.isnan(self.scale).all():
            return 0.0
        return float(np.nanmax(self.scale) / np.nanmin(self.scale) - 1)


def sampled_frames(num_frames: int, fps: float) -> np.ndarray:
    """Numbers of the frames in which :func:`measure` tracks the background, int ``[samples]``."""
    return np.arange(0, num_frames, max(1, round(fps / SAMPLES_PER_SECOND)))


def measure(
    images: Sequence[np.ndarray], labels: Sequence[np.ndarray], fps: float, progress: Callable[[int], None]
) -> BackgroundMotion:
    """Track the background through a clip.

    Args:
        images: uint8 RGB by index, read on demand.
        labels: uint8 label images by index.
        fps: frames per second.
        progress: called with 1 after each sampled frame.
    """
    frames = sampled_frames(len(images), fps)
    per_512 = 512.0 / max(images[0].shape[:2])
    shift, scale = np.full((len(frames), 2), np.nan), np.full(len(frames), np.nan)
    key: Optional[np.ndarray] = None
    key_free = np.zeros(0, np.uint8)
    corners = np.zeros((0, 2), np.float32)
    to_key, to_last = np.eye(3), np.eye(3)
    jumps: List[int] = []
    jump, steady = -1, 0
    for sample, index in enumerate(frames.tolist()):
        grey = cv2.cvtColor(images[index], cv2.COLOR_RGB2GRAY)
        free = background_mask(labels[index], per_512)
        renew = key is None
        if key is not None:
            step, num_agreeing = track_corners(key, grey, corners, free)
            renew = num_agreeing < RENEW_FRACTION * len(corners)
            if step is not None:
                to_last = step @ to_key
                shift[sample], scale[sample] = _shift_and_size(to_last, grey.shape, per_512)
                renew |= float(np.abs(_shift_and_size(step, grey.shape, per_512)[0]).max()) > RENEW_SHIFT
                steady += 1
                if jump >= 0 and steady == STEADY_SAMPLES:
                    jumps.append(jump)
            else:
                jump = index if steady >= STEADY_SAMPLES and looks_changed(key, grey, key_free & free) else -1
                steady = 0
        if renew:
            # A frame that could not be tracked is left out; the rest of the clip is tracked from here.
            key, key_free, corners, to_key = grey, free, find_corners(grey, free), to_last
            if np.isnan(scale[sample]) and len(corners) >= FEWEST_CORNERS:
                shift[sample], scale[sample] = _shift_and_size(to_key, grey.shape, per_512)
        progress(1)
    return BackgroundMotion(frames, shift, scale, jumps)


def background_mask(labels: np.ndarray, per_512: float) -> np.ndarray:
    """uint8 mask of background well away from the person."""
    margin = max(1, round(MARGIN / per_512))
    person = (labels != Label.BACKGROUND).astype(np.uint8)
    return 255 * (1 - cv2.dilate(person, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)))


def find_corners(grey: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Corners ``[n, 2]`` that can be tracked (Shi and Tomasi, "Good features to track", 1994)."""
    found = cv2.goodFeaturesToTrack(grey, MOST_CORNERS, 0.02, 6, mask=free, blockSize=5)
    if found is None:
        return np.zeros((0, 2), np.float32)
    found = found.reshape(-1, 2)
    # On a plain wall the strongest corners are compression noise: ask for contrast.
    contrast = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((7, 7), np.uint8))
    inside = np.clip(found.round().astype(int), 0, np.array(grey.shape[::-1]) - 1)
    return found[contrast[inside[:, 1], inside[:, 0]] > LEAST_CONTRAST]


def track_corners(
    before: np.ndarray, after: np.ndarray, corners: np.ndarray, free: np.ndarray
) -> Tuple[Optional[np.ndarray], int]:
    """The motion of the background between two images.

    Returns:
        ``[3, 3]`` similarity, or None where too few corners agree, and the number that do.
    """
    if len(corners) < FEWEST_CORNERS:
        return None, 0
    points = corners.reshape(-1, 1, 2)
    ahead, found, _ = cv2.calcOpticalFlowPyrLK(before, after, points, None, winSize=(15, 15), maxLevel=3)  # type: ignore
    back, returned, _ = cv2.calcOpticalFlowPyrLK(after, before, ahead, None, winSize=(15, 15), maxLevel=3)  # type: ignore
    good = (
        (found[:, 0] > 0)
        & (returned[:, 0] > 0)
        & (np.linalg.norm(back - points, axis=-1)[:, 0] < FORWARD_BACKWARD_ERROR)
    )
    ends = np.clip(ahead[:, 0].round().astype(int), 0, np.array(after.shape[::-1]) - 1)
    good &= free[ends[:, 1], ends[:, 0]] > 0
    if good.sum() < FEWEST_CORNERS:
        return None, int(good.sum())
    matrix, agree = cv2.estimateAffinePartial2D(points[good], ahead[good], ransacReprojThreshold=AGREEMENT)
    if matrix is None or agree.sum() < max(FEWEST_CORNERS, AGREEING_FRACTION * good.sum()):
        return None, 0
    tiles = np.floor(corners[good][agree[:, 0] > 0] / np.array(before.shape[::-1]) * GRID)
    if len(np.unique(tiles, axis=0)) < FEWEST_TILES:
        return None, 0
    return np.vstack([matrix, [0.0, 0.0, 1.0]]), int(agree.sum())


def looks_changed(before: np.ndarray, after: np.ndarray, free: np.ndarray) -> bool:
    """Whether most corners that one of two images has where both are ``free`` look otherwise in the other."""
    corners = np.concatenate([find_corners(image, free) for image in (before, after)])
    if len(corners) < FEWEST_CORNERS:
        return False
    first, second = (
        np.stack([cv2.getRectSubPix(image, (PATCH, PATCH), corner.tolist()).ravel() for corner in corners]).astype(
            float
        )
        for image in (before, after)
    )
    first, second = (patches - patches.mean(1, keepdims=True) for patches in (first, second))
    size = np.sqrt((first**2).sum(1) * (second**2).sum(1))
    return float(np.median((first * second).sum(1) / np.maximum(size, 1e-6))) < LEAST_LIKENESS


def _shift_and_size(matrix: np.ndarray, shape: Tuple[int, ...], per_512: float) -> Tuple[np.ndarray, float]:
    """How far the image's centre moves, in pixels of a 512-pixel image, and the factor by which the image grows."""
    middle = np.array([shape[1] / 2, shape[0] / 2, 1.0])
    return ((matrix @ middle) - middle)[:2] * per_512, float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))
