"""Step one of data preparation: choose frames and crop, and write the images."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from nerfblendshape_ns.data import contract
from nerfblendshape_ns.errors import UserError
from nerfblendshape_ns.process_data import frames as video_frames
from nerfblendshape_ns.process_data.crop import FrameWindow, face_window, whole_window
from nerfblendshape_ns.process_data.landmarks import open_detector
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.step_record import fresh_folder, put_in_place

Progress = Callable[[str, int, Optional[int]], None]
"""``progress(what, advance, total)``: ``total`` is given once, when it is known."""

# Frames looked at to place the crop; a head seldom goes where none of these shows it.
NUM_PROBES = 32


def run(options: ProcessOptions, model: Optional[Path], progress: Progress) -> Tuple[Dict[str, Any], List[str]]:
    """Write ``images/`` and return what later steps need to know of them, and warnings.

    Raises:
        UserError: the video cannot be read, has too few frames, or shows no face.
    """
    info = video_frames.probe_video(options.video)
    times = video_frames.frame_times(options.video)
    kept, fps = video_frames.select_frames(times, options.fps, options.max_frames)
    warnings = []
    if options.fps is None and video_frames.is_irregular(times):
        warnings.append("The video has a variable frame rate; pass --fps (for example 25) for evenly spaced frames.")
    progress("frames", 0, len(kept) + min(NUM_PROBES, len(kept)))
    boxes = find_faces(options.video, kept, model, progress)
    if options.crop == "face":
        window = face_window(boxes, info.width, info.height, options.max_size)
    else:
        window = whole_window(info.width, info.height, options.max_size)
    write_images(options.video, kept, window, options.output, progress)
    centre_x, centre_y = window.principal_point(info.width, info.height)
    summary = {
        "num_frames": len(kept),
        "fps": fps,
        "width": window.out_width,
        "height": window.out_height,
        "source_width": info.width,
        "source_height": info.height,
        "source_frames": len(times),
        "window": asdict(window),
        "short_side": min(info.width, info.height) * window.scale[0],
        "centre_x": centre_x,
        "centre_y": centre_y,
    }
    return summary, warnings


def find_faces(video: Path, kept: np.ndarray, model: Optional[Path], progress: Progress) -> np.ndarray:
    """Face boxes ``[found, 4]`` (x0, y0, x1, y1 in source pixels) in frames spread over the clip.

    Raises:
        UserError: there is no face in any frame; every frame is looked at before that is said.
    """
    probes = set(
        kept[np.unique(np.linspace(0, len(kept) - 1, min(NUM_PROBES, len(kept))).round().astype(int))].tolist()
    )
    boxes = _detect_boxes(video, probes, model, progress)
    if not boxes:
        boxes = _detect_boxes(video, set(kept.tolist()) - probes, model, None)
    if not boxes:
        raise UserError(
            f"no face was found in any of the {len(kept)} frames of {video}; "
            "use a video in which one face is large, lit and seen from the front."
        )
    return np.array(boxes)


def _detect_boxes(
    video: Path, wanted: set, model: Optional[Path], progress: Optional[Progress]
) -> List[Tuple[float, float, float, float]]:
    boxes = []
    with open_detector(model, single_images=True) as (detect, _):
        for index, (_, frame) in enumerate(video_frames.decode(video)):
            if index not in wanted:
                continue
            found = detect(frame, 0)
            if progress is not None:
                progress("frames", 1, None)
            if found is not None:
                low, high = found[0][:, :2].min(0), found[0][:, :2].max(0)
                boxes.append((float(low[0]), float(low[1]), float(high[0]), float(high[1])))
    return boxes


def write_images(video: Path, kept: np.ndarray, window: FrameWindow, root: Path, progress: Progress) -> None:
    """Decode the video once more and write the kept frames as ``images/000000.jpg`` and so on, all or none."""
    partial = fresh_folder(root / contract.IMAGES)
    number_of = {int(index): number for number, index in enumerate(kept)}
    written = 0
    for index, (_, frame) in enumerate(video_frames.decode(video)):
        if index not in number_of:
            continue
        image = video_frames.apply_window(frame, window)
        contract.save_image(partial / contract.image_name(number_of[index]), image)
        written += 1
        progress("frames", 1, None)
    if written != len(kept):
        raise UserError(
            f"{video} gave {written} of its {len(kept)} frames when read a second time; convert it to mp4 (H.264)."
        )
    put_in_place(partial, root / contract.IMAGES)
