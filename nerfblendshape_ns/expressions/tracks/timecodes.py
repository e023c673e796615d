"""Timecodes ``HH:MM:SS:FF``, whose last field counts frames at a rate that the file does not say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

import numpy as np
from jaxtyping import Float64

from nerfblendshape_ns.common.errors import UserError

TIMECODE_RATES = (24, 25, 30, 48, 50, 60, 90, 120, 240)
"""Frame counts per second that a timecode's last field is taken to run over."""
DROP_FRAME_RATES = (30, 60)
"""The same of drop-frame timecodes, which pass at 29.97 and 59.94."""
RECORDING_RATES = (23.976, 24.0, 25.0, 29.97, 30.0, 48.0, 50.0, 59.94, 60.0, 90.0, 100.0, 120.0, 240.0)
"""Usual rates of recordings; a measured one within 2 % is taken for the nearest of them."""
DAY = 86400.0
_POINTED = re.compile(r"([0-9]+:[0-9]+:[0-9]+)\.([0-9]+)")


def timecode_seconds(timecodes: Sequence[str], path: Path) -> Tuple[Float64[np.ndarray, "rows"], List[str]]:
    """Seconds of timecodes ``HH:MM:SS:FF.subframe``.

    With ``;`` in every one they are drop-frame ones: counted at 30 or 60 frames per second that pass at 29.97 or 59.94,
    with numbers left out at every minute but the tenth. In ``HH:MM:SS.FF`` FF are frames where it has two digits and is
    below 60 in every row, else a fraction of a second. FF counts at the smallest usual rate that the largest FF fits
    in, or at 60 where less than a second was recorded. Where the frames step back while the seconds ascend, whoever
    wrote FF computed it wrongly, and the rows are read at the even rate that the seconds imply.

    Args:
        timecodes: one for each row, ascending; a step back of more than half a day is midnight.
        path: the file, for messages.

    Returns:
        Seconds, and notes.

    Raises:
        UserError: one is no timecode.
    """
    timecodes = _with_colons(timecodes)
    whole, frames = _fields(timecodes, path)
    largest = float(np.floor(frames.max()))
    short = len(np.unique(whole)) < 2
    drop = all(";" in text for text in timecodes)
    rates = (*DROP_FRAME_RATES, *TIMECODE_RATES) if drop else TIMECODE_RATES
    rate = 60.0 if short else float(next((known for known in rates if known > largest), largest + 1))
    if drop and rate in DROP_FRAME_RATES:
        seconds = _drop_frame_seconds(whole, frames, int(rate))
    else:
        seconds = _over_midnight(whole + frames / rate)
    if len(seconds) < 2 or (np.diff(seconds) > 0).all() or (np.diff(_over_midnight(whole)) < 0).any():
        return seconds, []
    implied = _implied_rate(_over_midnight(whole), largest + 1)
    if implied is None:
        return seconds, []
    backwards = int((np.diff(seconds) <= 0).sum())
    often = "once" if backwards == 1 else f"{backwards} times"
    note = (
        f"{path.name}: the frames of its timecodes step back or stand still {often}"
        f" while the seconds go on, so the rows are read at the {implied:g} per second that the seconds imply."
    )
    return np.arange(len(seconds)) / implied, [note]


def _with_colons(timecodes: Sequence[str]) -> Sequence[str]:
    """``HH:MM:SS.FF`` as ``HH:MM:SS:FF``; where that is a fraction of a second, with no frames behind it."""
    found = [match for text in timecodes if (match := _POINTED.fullmatch(text.strip()))]
    if len(found) < len(timecodes):
        return timecodes
    are_frames = all(re.fullmatch("[0-5][0-9]", match[2]) for match in found)
    return [f"{match[1]}:{match[2]}" if are_frames else f"{match[0]}:0" for match in found]


def _fields(timecodes: Sequence[str], path: Path) -> Tuple[np.ndarray, np.ndarray]:
    """Whole seconds of the day, and frames."""
    fields = []
    for row, text in enumerate(timecodes):
        try:
            hours, minutes, seconds, frames = (float(part) for part in text.strip().replace(";", ":").split(":"))
        except ValueError:
            raise UserError(
                f"{path}: row {row + 1} has the timecode {text.strip()!r}, which is not HH:MM:SS:FF; correct it."
            ) from None
        fields.append((hours * 3600 + minutes * 60 + seconds, frames))
    whole, frames = np.array(fields).T
    return whole, frames


def _drop_frame_seconds(whole: np.ndarray, frames: np.ndarray, nominal: int) -> np.ndarray:
    """Seconds of drop-frame timecodes: 2 numbers of 30 (4 of 60) are left out at the start of a minute."""
    minutes = np.floor(_over_midnight(whole) / 60.0)
    dropped = nominal // 15 * (minutes - np.floor(minutes / 10.0))
    return (nominal * _over_midnight(whole) + frames - dropped) * 1.001 / nominal


def _over_midnight(seconds: np.ndarray) -> np.ndarray:
    return seconds + DAY * np.concatenate([[0.0], np.cumsum(np.diff(seconds) < -DAY / 2)])


def _implied_rate(whole: np.ndarray, counted: float) -> Optional[float]:
    """Rows per second by the straight line through whole seconds; None where they are too few.

    Args:
        whole: ``[rows]`` ascending whole seconds.
        counted: how many frames of a second the timecodes count; taken where the line does not speak against it.
    """
    extent = whole[-1] - whole[0]
    if extent < 2:
        return None
    measured = 1.0 / float(np.polyfit(np.arange(len(whole)), whole, 1)[0])
    # The seconds where the recording begins and ends are not whole, which tilts the line the less the longer it is.
    if abs(counted - measured) <= max(5e-4, 1.0 / extent**2) * measured:
        return counted
    nearest = min(RECORDING_RATES, key=lambda known: abs(known - measured))
    return nearest if abs(nearest - measured) <= 0.02 * measured else measured
