"""Step one of data preparation: decode the whole video once and measure it.

One streaming pass gathers the times of all frames, how much each differs from the one before, black bars, and the faces
in frames spread over the video (the *probed* frames). What follows from it (shots, fades, frame rate, crop) is decided
in the next step, so other options do not decode it again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Iterator, List, Optional, Tuple

import numpy as np

from nerfblendshape_ns.common.arrays import load_arrays, save_arrays
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.parallel import ordered_map
from nerfblendshape_ns.process_data.face.face_finder import Box, FaceFinder
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.steps.step_record import Progress, Result
from nerfblendshape_ns.process_data.video import frames as video_frames
from nerfblendshape_ns.process_data.video.letterbox import BarFinder
from nerfblendshape_ns.process_data.video.shots import ChangeMeter, Changes

SURVEY = "survey.npz"
# Faces are looked for in about this many frames of a short clip (of a video or a part of it), and at least this often,
# in seconds, in a long one.
NUM_PROBES = 48
LONGEST_WAIT = 1.0


@dataclass
class Survey:
    """What one pass over a video measures."""

    numbers: np.ndarray
    """int ``[frames]``: each frame's number in the file (from 0; the first is later with ``--start``)."""
    times: np.ndarray
    """float64 ``[frames]``: seconds."""
    changes: Changes
    """Contrast and change of every frame."""
    probes: np.ndarray
    """int ``[probes]``: indices into ``times`` of the probed frames, in which faces were looked for."""
    faces: List[List[Box]]
    """The boxes found at each probe, largest first, in pixels of the upright video."""
    content: Optional[Tuple[int, int, int, int]]
    """``(left, top, width, height)`` inside black bars, None where there are none."""


def run(options: ProcessOptions, model: Path, progress: Progress) -> Result:
    """Write ``survey.npz``.

    Raises:
        UserError: the video cannot be read, or ``--start`` and ``--end`` leave nothing of it.
    """
    info = video_frames.probe_video(options.video)
    survey = measure_video(options, info, model, progress)
    save_survey(options.output / SURVEY, survey)
    summary = {
        "source_width": info.width,
        "source_height": info.height,
        "source_frames": len(survey.times),
        "source_fps": info.fps,
        "has_audio": info.has_audio,
        "hdr": info.is_hdr,
        "interlaced": info.is_interlaced,
        "seconds": round(float(survey.times[-1] - survey.times[0]), 3),
        "probed_frames": len(survey.probes),
        "probed_frames_with_face": sum(bool(boxes) for boxes in survey.faces),
    }
    return summary, []


def measure_video(options: ProcessOptions, info: video_frames.VideoInfo, model: Path, progress: Progress) -> Survey:
    """Decode the video once; memory does not grow with its length beyond a few numbers per frame."""
    length = info.num_frames / info.fps
    seconds = (length if options.end is None else min(length, options.end)) - (options.start or 0.0)
    seconds = max(seconds, 1 / info.fps)
    progress(0, round(seconds * info.fps))
    interval = max(1 / info.fps, min(LONGEST_WAIT, seconds / NUM_PROBES))
    meter, bars = ChangeMeter(), BarFinder()
    numbers: List[int] = []
    times: List[float] = []
    probes: List[int] = []
    faces: List[List[Box]] = []
    find = FaceFinder(model)

    def decoded() -> Iterator[Tuple[int, float, np.ndarray, bool]]:
        due = -1.0
        for number, seconds, frame in video_frames.decode(options.video, options.start, options.end):
            # Half an interval of tolerance: times are rounded.
            is_probe = seconds >= due - 0.5 / info.fps
            if is_probe:
                due = seconds + interval
            yield number, seconds, frame, is_probe

    def look(
        item: Tuple[int, float, np.ndarray, bool],
    ) -> Tuple[int, float, np.ndarray, Optional[List[Box]]]:
        number, seconds, frame, is_probe = item
        return number, seconds, frame, find(frame) if is_probe else None

    for number, seconds, frame, found in ordered_map(look, decoded()):
        meter.add(frame)
        if found is not None:
            probes.append(len(times))
            faces.append(found)
            bars.add(frame)
        numbers.append(number)
        times.append(seconds)
        progress(1)
    if not times:
        raise UserError(nothing_left(options, info))
    return Survey(np.array(numbers), np.array(times), meter.changes(), np.array(probes), faces, bars.content())


def nothing_left(options: ProcessOptions, info: video_frames.VideoInfo) -> str:
    """The message where no frame lies between ``--start`` and ``--end``."""
    if options.start is not None or options.end is not None:
        length = info.num_frames / info.fps
        return f"no frame of {options.video} lies between --start and --end; the video is {length:.2f} seconds long."
    return f"{options.video} holds no frame that can be decoded; convert it to mp4 (H.264) and try again."


def save_survey(path: Path, survey: Survey) -> None:
    """Write a survey as plain arrays."""
    owner = [index for index, boxes in enumerate(survey.faces) for _ in boxes]
    boxes = [box for boxes in survey.faces for box in boxes]
    save_arrays(
        path,
        numbers=survey.numbers,
        times=survey.times,
        probes=survey.probes,
        face_probe=np.array(owner, dtype=np.int64),
        face_boxes=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        content=np.array(survey.content or [], dtype=np.int64),
        **asdict(survey.changes),
    )


def load_survey(path: Path) -> Survey:
    """Read what :func:`save_survey` wrote.

    Raises:
        UserError: it is missing or damaged.
    """
    arrays = load_arrays(path)
    faces: List[List[Box]] = [[] for _ in arrays["probes"]]
    for index, (x0, y0, x1, y1) in zip(arrays["face_probe"], arrays["face_boxes"]):
        faces[int(index)].append((float(x0), float(y0), float(x1), float(y1)))
    changes = Changes(*(arrays[name] for name in ("contrast", "change", "structure", "return_change")))
    content: Any = tuple(arrays["content"].tolist()) or None
    return Survey(arrays["numbers"], arrays["times"], changes, arrays["probes"], faces, content)
