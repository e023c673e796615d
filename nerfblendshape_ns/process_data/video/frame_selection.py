"""Which frames of a shot are kept: all of a steady video, evenly spaced ones of a variable frame rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np

from nerfblendshape_ns.common.errors import UserError

# Below this a clip cannot be split into training, validation and test frames, nor a head pose track be smoothed.
MIN_FRAMES = 10
# Frame intervals that differ by more than this fraction of the median mean a variable frame rate, and by more than this
# many seconds: containers round times to milliseconds.
IRREGULAR_FRACTION, ROUNDING = 0.25, 0.0011
# A gap of a variable frame rate is filled by repeated frames for this many seconds at most: a pause of the recording,
# or times that jump by hours, would become as many images of one frame.
LONGEST_FILL = 1.0
# Frames per second that no camera has; what follows needs milliseconds between frames.
IMPLAUSIBLE_RATE = 1000.0


@dataclass
class Selection:
    """The frames that become images."""

    indices: np.ndarray
    """int ``[kept]``: indices into the times, never descending; a repeated one fills a gap of the video."""
    times: np.ndarray
    """float64 ``[kept]``: seconds of each image, evenly spaced but for gaps of the video."""
    fps: float
    """Frames per second of the images."""
    variable: bool
    """Whether the video's own frames were not evenly spaced."""

    @property
    def num_repeated(self) -> int:
        """Images that show the same frame as the image before them."""
        return int((np.diff(self.indices) == 0).sum())


def is_irregular(times: np.ndarray) -> bool:
    """Whether more than 2 % of the frame intervals are far from the median, as in variable-frame-rate recordings."""
    if len(times) < 3:
        return False
    return bool((~_usual(np.diff(times))).mean() > 0.02)


def _usual(intervals: np.ndarray) -> np.ndarray:
    """bool ``[intervals]``: which are near the median."""
    median = float(np.median(intervals))
    return np.abs(intervals - median) <= max(IRREGULAR_FRACTION * median, min(ROUNDING, 0.5 * median))


def own_rate(times: np.ndarray, irregular: bool) -> float:
    """Frames per second of times that are evenly spaced but for gaps; for irregular ones, of their median interval.

    The mean over the clip is exact where containers round times to milliseconds, which the median interval is not.
    """
    if len(times) < 2:
        return 25.0
    if irregular:
        rate = 1.0 / float(np.median(np.diff(times)))
        # In milliseconds 30 frames per second become 30.303; a rate this near to a whole number is that number.
        return float(round(rate)) if abs(rate - round(rate)) < 0.02 * rate else rate
    intervals = np.diff(times)
    return 1.0 / float(intervals[_usual(intervals)].mean())


def select_frames(
    times: np.ndarray,
    fps: Optional[float] = None,
    max_frames: Optional[int] = None,
    whole: Optional[np.ndarray] = None,
) -> Selection:
    """Choose which frames are kept, so that what comes out has a constant frame rate.

    A steady video keeps every frame, or with ``fps`` below its own the nearest frame to each instant; no frame is taken
    twice, so a rate above the video's own keeps every frame. A variable frame rate is sampled at ``fps`` or its median
    rate; where it has no new frame, the nearest one is repeated, as a player would, but for long gaps.

    Args:
        times: seconds of each frame, ascending.
        fps: frames per second; None keeps the video's own rate.
        max_frames: keep only the first so many.
        whole: the times of the whole video, which tell a variable frame rate from blank frames that were left out; None
            for ``times``.

    Raises:
        UserError: fewer than :data:`MIN_FRAMES` remain, or the times cannot be right.
    """
    times = np.asarray(times, dtype=np.float64)
    variable = is_irregular(times if whole is None else whole)
    rate = own_rate(times, variable)
    if rate > IMPLAUSIBLE_RATE:
        raise UserError(
            f"the video's own times give {rate:,.0f} frames per second, which no camera has; write it again with its "
            "real rate (ffmpeg -i IN -vf 'setpts=N/(30*TB)' -r 30 OUT for 30)."
        )
    indices, instants = np.arange(len(times)), times
    if len(times) > 1 and (variable or (fps is not None and fps < rate)):
        rate = rate if fps is None else min(fps, rate) if not variable else fps
        gaps_cut = np.concatenate([[0.0], np.cumsum(np.minimum(np.diff(times), max(LONGEST_FILL, 1 / rate)))])
        instants = np.arange(0.0, gaps_cut[-1] + 0.5 / rate, 1 / rate)
        after = np.clip(np.searchsorted(gaps_cut, instants), 1, len(times) - 1)
        before = np.abs(gaps_cut[after - 1] - instants) <= np.abs(gaps_cut[after] - instants)
        indices = np.where(before, after - 1, after)
        instants = times[indices] + (instants - gaps_cut[indices])
        if not variable:
            indices = np.unique(indices)
            instants = times[indices]
    if max_frames is not None:
        indices, instants = indices[:max_frames], instants[:max_frames]
    if len(np.unique(indices)) < MIN_FRAMES:
        raise UserError(
            f"the video gives only {len(np.unique(indices))} frames and at least {MIN_FRAMES} are needed; "
            "use a longer video, a wider --start to --end, or a higher --fps."
        )
    return Selection(indices, instants, float(rate), variable)
