"""Checks of the user's masks, models and coefficients before the long steps, not when they are needed."""

from __future__ import annotations

from typing import Any, Dict, Optional

import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.arrays import load_arrays
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.expressions.tracks import ExpressionTrack
from nerfblendshape_ns.expressions.tracks.base import HOLD_SECONDS
from nerfblendshape_ns.process_data.labels.given_labels import (
    GivenLabels,
    could_be_of_images,
    find_masks,
    no_head,
    read_labels,
)
from nerfblendshape_ns.process_data.labels.multiclass_segmenter import MulticlassSegmenter
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.steps.expression_step import place_expressions, read_track, source_frames
from nerfblendshape_ns.process_data.steps.frame_step import FRAMES
from nerfblendshape_ns.process_data.steps.track_step import TRACKS_RAW
from nerfblendshape_ns.process_data.video.frame_selection import MIN_FRAMES
from nerfblendshape_ns.process_data.video.frames import probe_video


def check_label_sources(options: ProcessOptions) -> None:
    """Check masks or segmenter as far as that is possible before any frame has been chosen.

    Raises:
        UserError: there are too few masks, one cannot be read or has neither the video's nor the images' size, the
            first has values that are no labels, or the model cannot be used.
    """
    if options.segmenter is not None:
        MulticlassSegmenter(options.segmenter)
    if options.parsing is None:
        return
    masks = find_masks(options.parsing)
    if len(masks) < MIN_FRAMES:
        raise UserError(
            f"--parsing {options.parsing} holds {len(masks)} masks and at least {MIN_FRAMES} frames are needed; give "
            "one mask for each frame."
        )
    video = probe_video(options.video)
    of_images = None
    for path in masks.values():
        size = file_io.image_size(path)
        if size is None:
            raise UserError(f"{path} cannot be decoded as an image; restore the mask.")
        if size == (video.width, video.height):
            continue
        of_images = of_images or size
        if size != of_images or max(size) > options.max_size:
            raise UserError(
                f"{path} is {size[0]}x{size[1]} pixels; masks must have the video's size "
                f"({video.width}x{video.height}) or all that of the dataset's images."
            )
    read_labels(next(iter(masks.values())))


def check_against_frames(
    options: ProcessOptions, frame_info: Dict[str, Any], labels_pending: bool, tracked: bool
) -> None:
    """Check masks and coefficients against the frames that were chosen, before these are tracked.

    Args:
        options: of the run.
        frame_info: summary of the step ``frames``.
        labels_pending: whether the masks will be read.
        tracked: whether it is known which frames have no face.

    Raises:
        UserError: a mask is missing or wrong, or the coefficients cannot cover the clip.
    """
    chosen = load_arrays(options.output / FRAMES)
    kept = load_arrays(options.output / TRACKS_RAW)["kept_frames"] if tracked else None
    if kept is None and options.on_missing != "drop":
        kept = np.arange(len(chosen["numbers"]))
    if options.parsing is not None and labels_pending:
        _check_masks(options, chosen["numbers"], kept, frame_info)
    if options.expressions is not None:
        track = read_track(options)
        if kept is not None or not _may_cover(options, track, chosen, frame_info):
            rows = np.arange(len(chosen["numbers"])) if kept is None else kept
            place_expressions(options, track, frame_info, rows, chosen["times"][rows])


def _check_masks(
    options: ProcessOptions, numbers: np.ndarray, kept: Optional[np.ndarray], frame_info: Dict[str, Any]
) -> None:
    assert options.parsing is not None
    if kept is None and could_be_of_images(options.parsing, len(numbers), frame_info):
        return  # They may belong to the images that are left without lost faces, which are not known yet.
    masks = GivenLabels(options.parsing, numbers if kept is None else numbers[kept], frame_info)
    if not any([(masks[index] == Label.HEAD).any() for index in range(len(masks))]):  # A list, so that all are read.
        raise UserError(no_head(options.parsing))


def _may_cover(
    options: ProcessOptions, track: ExpressionTrack, chosen: Dict[str, np.ndarray], frame_info: Dict[str, Any]
) -> bool:
    """Whether a track can fit the clip once frames without a face are left out."""
    if track.times is None:
        counts = (*range(MIN_FRAMES, len(chosen["numbers"]) + 1), source_frames(options, frame_info))
        return not options.expressions_offset and len(track) in counts
    wanted = chosen["times"] + options.expressions_offset
    return int(((wanted >= -HOLD_SECONDS) & (wanted <= track.duration + HOLD_SECONDS)).sum()) >= MIN_FRAMES
