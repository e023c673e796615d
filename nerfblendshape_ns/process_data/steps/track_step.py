"""The step of data preparation that tracks the face: landmarks and coefficients of every frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Tuple

import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.arrays import load_arrays, save_arrays
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.frame_numbers import name_frames
from nerfblendshape_ns.common.smoothing import fill_gaps
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.process_data.face.face_track import NUM_PASSES, STRETCH, Subject, track_face
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.steps.frame_step import FRAMES
from nerfblendshape_ns.process_data.steps.step_record import (
    Progress,
    Result,
    fresh_folder,
    put_in_place,
    resumed_folder,
)
from nerfblendshape_ns.process_data.video.crop import face_window
from nerfblendshape_ns.process_data.video.frame_folders import ImageFolder, LabelFolder
from nerfblendshape_ns.process_data.video.frame_selection import MIN_FRAMES

TRACKS_RAW = "tracks_raw.npz"
"""``landmarks`` and ``coefficients`` as tracked, ``found`` (False where they are interpolated), ``kept_frames`` (which
of the chosen frames are left) and ``breaks``, before which motion is interrupted."""
STRETCHES = "track"
# Lower than this fraction of the image's longer side, a face is looked for in a part of the image.
LEAST_FACE_FRACTION = 0.2
MOST_FACES = 4
# More than this fraction of the landmarks outside the image means a face cut off by its border.
CUT_OFF_FRACTION = 0.04


def track(options: ProcessOptions, model: Path, frame_info: Dict[str, Any], progress: Progress) -> Result:
    """Landmarks and coefficients of every frame into ``tracks_raw.npz``; frames without a face are dealt with.

    Args:
        options: of the run.
        model: the Face Landmarker.
        frame_info: summary of the step ``frames``, which wrote the images.
        progress: the step's bar.

    Raises:
        UserError: no face at all, lost faces with ``--on-missing fail``, or too few frames left.
    """
    root = options.output
    chosen = load_arrays(root / FRAMES)
    images = ImageFolder(root, frame_info["num_frames"])
    progress(0, len(images) * NUM_PASSES)
    store = stretches_folder(root, frame_info, chosen)
    seen = track_face(images, frame_info["fps"], model, progress, find_subject(frame_info, chosen), store)
    lost = np.flatnonzero(~seen.found)
    warnings = []
    kept = np.arange(len(images))
    if len(lost) == len(images):
        raise UserError(f"no face was found in any frame of {options.video}; use a video that shows one face clearly.")
    if len(lost):
        warnings.append(_lost_faces(options, lost, len(images)))
    breaks = chosen["breaks"]
    if len(lost) and options.on_missing == "drop":
        kept = np.flatnonzero(seen.found)
        if len(kept) < MIN_FRAMES:
            raise UserError(
                f"a face was found in only {len(kept)} of {len(images)} frames and at least {MIN_FRAMES} are needed; "
                "use a video that shows the face longer."
            )
        # A frame that follows a dropped one does not follow the frame before it in time.
        numbered = np.cumsum(breaks)[kept]
        breaks = np.concatenate([[False], (np.diff(kept) > 1) | (np.diff(numbered) > 0)])
    landmarks = seen.landmarks[kept]
    cut = frames_cut_off(landmarks, frame_info["width"], frame_info["height"])
    if len(cut):
        warnings.append(
            f"The image's border cuts the face off in {name_frames(cut)}: what lies outside is guessed there."
        )
    file_io.save_array(root / contract.FRAME_TIMES, chosen["times"][kept])
    save_arrays(
        root / TRACKS_RAW,
        landmarks=landmarks,
        coefficients=seen.coefficients[kept],
        found=seen.found[kept],
        kept_frames=kept,
        breaks=breaks,
    )
    if len(kept) < len(images):
        _renumber_images(root, kept)
    summary = {
        "num_frames": len(kept),
        "frames_with_face": int(seen.found.sum()),
        "lost_frames": lost.tolist(),
        "cut_off_frames": cut.tolist(),
        "on_missing": options.on_missing,
    }
    return summary, warnings


def find_subject(frame_info: Dict[str, Any], chosen: Dict[str, np.ndarray]) -> Subject:
    """Where in the images to look for the face, from where the survey saw it.

    Args:
        frame_info: summary of the step ``frames``.
        chosen: content of ``frames.npz``.
    """
    seen, boxes = chosen["face_times"], chosen["face_boxes"]
    width, height, num_faces = frame_info["width"], frame_info["height"], frame_info["num_faces"]
    expected = np.stack([np.interp(chosen["times"], seen, boxes[:, side]) for side in range(4)], axis=-1)
    view = None
    if float(np.median(boxes[:, 3] - boxes[:, 1])) < LEAST_FACE_FRACTION * max(width, height):
        window = face_window(np.clip(boxes, 0, None), width, height, max(width, height))
        view = window.left, window.top, window.width, window.height
    return Subject(min(num_faces, MOST_FACES), expected if num_faces > 1 else None, view)


def stretches_folder(root: Path, frame_info: Dict[str, Any], chosen: Dict[str, np.ndarray]) -> Path:
    """Where finished stretches of the track are kept until the step is over; arguments as of :func:`find_subject`."""
    content = {
        "numbers": chosen["numbers"].tolist(),
        "boxes": chosen["face_boxes"].tolist(),
        "frames": {key: value for key, value in frame_info.items() if key != "sections"},
    }
    return resumed_folder(root / STRETCHES, content)


def images_are_missing(options: ProcessOptions, frame_info: Dict[str, Any]) -> bool:
    """Whether ``images/`` lacks frames that tracking needs: some were dropped and no finished stretches are left."""
    present = len(list((options.output / contract.IMAGES).glob("[!.]*")))
    stretches = len(list((options.output / f".{STRETCHES}.partial").glob("[!.]*")))
    return present != frame_info["num_frames"] and stretches * STRETCH < 2 * frame_info["num_frames"]


def frames_cut_off(landmarks: np.ndarray, width: int, height: int) -> np.ndarray:
    """Frames in which more than :data:`CUT_OFF_FRACTION` of the face's landmarks lie outside the image."""
    with np.errstate(invalid="ignore"):
        outside = (landmarks[..., :2] < 0) | (landmarks[..., :2] > np.array([width, height]))
    return np.flatnonzero(outside.any(-1).mean(1) > CUT_OFF_FRACTION)


def _lost_faces(options: ProcessOptions, lost: np.ndarray, num_frames: int) -> str:
    """The warning about frames without a face; an error with ``--on-missing fail``."""
    if options.on_missing == "fail":
        raise UserError(
            f"the face was lost in {len(lost)} of {num_frames} frames of {options.video} ({name_frames(lost)}); "
            "cut them out of the video, or pass --on-missing drop or --on-missing interpolate."
        )
    done = "they are left out" if options.on_missing == "drop" else "their tracks are interpolated"
    return f"The face was lost in {len(lost)} of {num_frames} frames: {name_frames(lost)}; {done}."


def _renumber_images(root: Path, kept: np.ndarray) -> None:
    """Leave only the kept frames' images, numbered afresh; does nothing where an interrupted run has done it."""
    if len(list((root / contract.IMAGES).glob("[!.]*"))) == len(kept):
        return
    partial = fresh_folder(root / contract.IMAGES)
    for number, index in enumerate(kept):
        source = root / contract.IMAGES / contract.image_name(int(index))
        (partial / contract.image_name(number)).write_bytes(source.read_bytes())
    put_in_place(partial, root / contract.IMAGES)


def filled_landmarks(root: Path) -> np.ndarray:
    """Pixels of the tracked landmarks, float32 ``[frames, 478, 2]``, interpolated in frames without a face."""
    return fill_gaps(load_arrays(root / TRACKS_RAW)["landmarks"])[:, :, :2]


def images_and_labels(root: Path) -> Tuple[ImageFolder, LabelFolder]:
    """The images of the dataset directory and their labels, read on demand."""
    count = len(load_arrays(root / TRACKS_RAW)["found"])
    return ImageFolder(root, count), LabelFolder(root, count)
