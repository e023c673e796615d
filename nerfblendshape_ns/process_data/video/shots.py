"""Scene cuts, blank stretches, fades and stray frames, from a few numbers per frame; and the choice of one shot.

A cut is a change between frames that is large relative to the changes around it and that alters the image's structure,
not only its brightness. A flash changes back at once and is no cut. Nor is a jump inside a scene (words cut out of a
take): the background stays, so training can use both sides, but motion must not be smoothed across it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Deque, List, Optional, Sequence, Tuple, Union

import cv2
import numpy as np

THUMBNAIL = 64
# A frame whose darkest and brightest half per cent differ by fewer grey levels than this shows nothing.
BLANK_CONTRAST = 12.0
# Next to a blank stretch, frames with less than this fraction of the shot's median contrast belong to a fade.
FADE_FRACTION = 0.85
LONGEST_FADE = 3.0
# A shorter stretch between cuts, in seconds, is no scene: a recording that was trimmed a frame too wide.
SHORTEST_SHOT = 0.2
# A cut changes thumbnails by at least this many grey levels, this many times the usual change, and their structure
# (one minus the correlation) by this much. On four real clips head motion stays below 16, 3 and 0.1.
CUT_CHANGE, CUT_RATIO, CUT_STRUCTURE = 9.0, 4.0, 0.14
JUMP_CHANGE, JUMP_RATIO = 3.0, 5.0
NEIGHBOURS = 10
# A frame that changes by less repeats the one before, as where 15 frames per second are written as 30 or 60; such ones
# say nothing of the usual change. Encoded again, repeated frames of two clips changed by up to 0.144.
REPEATED_CHANGE = 0.15
MOST_NAMED = 8


@dataclass
class Changes:
    """What is measured of every frame."""

    contrast: np.ndarray
    """float32 ``[frames]``: grey levels between the darkest and the brightest half per cent."""
    change: np.ndarray
    """float32 ``[frames]``: mean difference to the last frame that was not blank, in grey levels; 0 for the first."""
    structure: np.ndarray
    """float32 ``[frames]``: one minus the correlation with that frame."""
    return_change: np.ndarray
    """float32 ``[frames]``: mean difference to the frame before that one: small after a flash."""

    @property
    def blank(self) -> np.ndarray:
        """bool ``[frames]``: black, or one colour all over."""
        return self.contrast < BLANK_CONTRAST


class ChangeMeter:
    """Measures frames one after the other; keeps two thumbnails and four numbers per frame."""

    def __init__(self) -> None:
        self._recent: Deque[np.ndarray] = deque(maxlen=2)
        self._rows: List[Tuple[float, float, float, float]] = []

    def add(self, frame: np.ndarray) -> None:
        """Take the next frame, uint8 RGB."""
        small = cv2.resize(frame, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).astype(np.float32)
        low, high = np.percentile(small.mean(-1), [0.5, 99.5])
        change = structure = return_change = 0.0
        if self._recent:
            change = float(np.abs(small - self._recent[-1]).mean())
            structure = 1.0 - correlation(small, self._recent[-1])
            return_change = float(np.abs(small - self._recent[0]).mean())
        self._rows.append((float(high - low), change, structure, return_change))
        if high - low >= BLANK_CONTRAST:
            self._recent.append(small)

    def changes(self) -> Changes:
        """Everything measured so far."""
        return Changes(*np.array(self._rows, dtype=np.float32).reshape(-1, 4).T)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson correlation of two images' grey levels; 1 where both are flat."""
    a, b = first.mean(-1), second.mean(-1)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size > 1e-6 else 1.0


def find_cuts(changes: Changes) -> Tuple[np.ndarray, np.ndarray]:
    """Frames that begin a new scene, and frames at which the person jumps within a scene.

    Returns:
        Two ascending int arrays of frame numbers.
    """
    shown = np.flatnonzero(~changes.blank)
    change, structure = changes.change[shown], changes.structure[shown]
    cuts, jumps = [], []
    for position in range(1, len(shown)):
        near = np.arange(max(1, position - NEIGHBOURS), min(len(shown), position + NEIGHBOURS + 1))
        others = change[near[near != position]]
        others = others[others > REPEATED_CHANGE]
        usual = (float(np.median(others)) if len(others) else 0.0) + 0.5
        if _is_flash(changes, shown, position):
            continue
        large = change[position] > max(CUT_CHANGE, CUT_RATIO * usual)
        if large and structure[position] > CUT_STRUCTURE:
            cuts.append(int(shown[position]))
        elif change[position] > max(JUMP_CHANGE, JUMP_RATIO * usual):
            jumps.append(int(shown[position]))
    return np.array(cuts, dtype=int), np.array(jumps, dtype=int)


def _is_flash(changes: Changes, shown: np.ndarray, position: int) -> bool:
    """Whether this change is undone by the next frame, or undoes the last one."""
    for first in (position, position - 1):
        if 1 <= first and first + 1 < len(shown):
            undone = changes.return_change[shown[first + 1]] < 0.35 * changes.change[shown[first]]
            if undone and changes.change[shown[first + 1]] > 0.5 * changes.change[shown[first]]:
                return True
    return False


def find_shots(changes: Changes, cuts: Sequence[int], times: np.ndarray) -> List[np.ndarray]:
    """Frame numbers of each shot, without blank frames and the fades next to them, and without stray frames.

    Stray frames are stretches between cuts of less than :data:`SHORTEST_SHOT`, beside longer ones.
    """
    blank = changes.blank
    pieces = np.split(np.arange(len(blank)), np.asarray(cuts, dtype=int))
    pieces = [shown for shown in (piece[~blank[piece]] for piece in pieces) if len(shown) > 1]
    interval = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    long = [shown for shown in pieces if times[shown[-1]] - times[shown[0]] + interval > SHORTEST_SHOT]
    return [_without_fades(changes, shown, times) for shown in long or pieces]


def _without_fades(changes: Changes, shown: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The frames of a shot that are not part of a fade from or to a blank stretch."""
    blank = changes.blank
    usual = float(np.median(changes.contrast[shown]))
    faded = changes.contrast[shown] < FADE_FRACTION * usual
    first, last = 0, len(shown) - 1
    if shown[0] > 0 and blank[shown[0] - 1]:
        while first < last and faded[first] and times[shown[first]] - times[shown[0]] < LONGEST_FADE:
            first += 1
    if shown[-1] + 1 < len(blank) and blank[shown[-1] + 1]:
        while last > first and faded[last] and times[shown[-1]] - times[shown[last]] < LONGEST_FADE:
            last -= 1
    return shown[first : last + 1]


def name_times(times: Union[np.ndarray, Sequence[float]]) -> str:
    """Times as text: ``1.52 s, 3.00 s``, cut off after :data:`MOST_NAMED`."""
    parts = [f"{seconds:.2f} s" for seconds in times[:MOST_NAMED]]
    if len(times) > MOST_NAMED:
        parts.append(f"{len(times) - MOST_NAMED} more")
    return ", ".join(parts)


def left_out(times: np.ndarray, chosen: np.ndarray) -> Optional[str]:
    """What the chosen shot leaves out before, inside and after it, as text; None where that is nothing."""
    parts = []
    if chosen[0] > 0:
        parts.append(f"the first {times[chosen[0]] - times[0]:.2f} s")
    inside = int(chosen[-1] - chosen[0]) + 1 - len(chosen)
    if inside:
        parts.append(f"{inside} frames in the middle")
    if chosen[-1] + 1 < len(times):
        parts.append(f"the last {times[-1] - times[chosen[-1]]:.2f} s")
    return " and ".join(parts) or None
