"""Steps of data preparation on the face track: landmarks and expressions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.arrays import load_arrays, save_arrays
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.smoothing import fill_gaps, jitter, name_frames, whittaker
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.expressions.tracks import ExpressionTrack, read_expression_track
from nerfblendshape_ns.process_data.face.canonical_face import read_canonical_face
from nerfblendshape_ns.process_data.face.expressions import Expressions, arkit_expressions, landmark_pca_expressions
from nerfblendshape_ns.process_data.face.external_expressions import external_expressions
from nerfblendshape_ns.process_data.face.face_track import STRETCH, Subject, num_passes, track_face
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.steps.frame_step import FRAMES, Progress
from nerfblendshape_ns.process_data.steps.step_record import fresh_folder, put_in_place, resumed_folder
from nerfblendshape_ns.process_data.video.crop import face_window
from nerfblendshape_ns.process_data.video.frame_selection import MIN_FRAMES
from nerfblendshape_ns.process_data.video.frames import ImageFolder

TRACKS_RAW = "tracks_raw.npz"
HEAD_POSES = "head_poses.npz"
EXPRESSIONS_RAW = "expr_raw.npy"
"""Coefficients as tracked, before smoothing: float32 ``[frames, basis]``, columns as in ``expr.npy``."""
STRETCHES = "track"
# Lower than this share of the image's longer side, a face is looked for in a part of the image.
FEWEST_FACE_SHARE = 0.2
MOST_FACES = 4
# More landmarks than this share outside the picture means a face cut off by its border.
CUT_OFF_SHARE = 0.04

Result = Tuple[Dict[str, Any], List[str]]


def track(options: ProcessOptions, model: Optional[Path], shot: Dict[str, Any], progress: Progress) -> Result:
    """Landmarks and coefficients of every frame into ``tracks_raw.npz``; frames without a face are dealt with.

    Raises:
        UserError: no face at all, lost faces with ``--on-missing fail``, or too few frames left.
    """
    root = options.output
    chosen = load_arrays(root / FRAMES)
    images = ImageFolder(root, shot["num_frames"])
    mesh = None if model is None else read_canonical_face(model).vertices
    progress("landmarks", 0, len(images) * num_passes(mesh))
    seen = track_face(
        images,
        shot["fps"],
        model,
        mesh,
        lambda advance: progress("landmarks", advance, None),
        find_subject(shot, chosen),
        stretches_folder(root, shot, chosen, mesh),
    )
    lost = np.flatnonzero(~seen.found)
    warnings = []
    kept = np.arange(len(images))
    if len(lost) == len(images):
        raise UserError(f"no face was found in any frame of {options.video}; use a video that shows one face clearly.")
    if len(lost):
        warnings.append(_deal_with_lost(options, lost, len(images)))
    landmarks, coefficients, times, breaks = seen.landmarks, seen.coefficients, chosen["times"], chosen["breaks"]
    if len(lost) and options.on_missing == "drop":
        kept = np.flatnonzero(seen.found)
        if len(kept) < MIN_FRAMES:
            raise UserError(
                f"a face was found in only {len(kept)} of {len(images)} frames and at least {MIN_FRAMES} are needed; "
                "use a video that shows the face longer."
            )
        landmarks, times = landmarks[kept], times[kept]
        coefficients = None if coefficients is None else coefficients[kept]
        # A frame that follows one left out does not follow the frame before it in time.
        numbered = np.cumsum(breaks)[kept]
        breaks = np.concatenate([[False], (np.diff(kept) > 1) | (np.diff(numbered) > 0)])
    cut = frames_cut_off(landmarks, shot["width"], shot["height"])
    if len(cut):
        warnings.append(
            f"The picture's border cuts the face off in {name_frames(cut)}: what lies outside is guessed there."
        )
    file_io.save_array(root / contract.FRAME_TIMES, times)
    save_arrays(
        root / TRACKS_RAW,
        landmarks=landmarks,
        coefficients=np.zeros((len(kept), 0), np.float32) if coefficients is None else coefficients,
        names=np.array(seen.names, dtype=np.str_),
        found=seen.found[kept],
        kept_frames=kept,
        breaks=breaks,
    )
    if len(kept) < len(images):
        _renumber_images(root, kept)
    summary = {
        "tracker": "facemesh" if model is None else "landmarker",
        "num_frames": len(kept),
        "frames_with_face": int(seen.found.sum()),
        "lost_frames": lost.tolist(),
        "cut_off_frames": cut.tolist(),
        "on_missing": options.on_missing,
    }
    return summary, warnings


def find_subject(shot: Dict[str, Any], chosen: Dict[str, np.ndarray]) -> Subject:
    """Where in the images to look for the face, from where the survey saw it."""
    seen, boxes = chosen["face_times"], chosen["face_boxes"]
    expected = np.stack([np.interp(chosen["times"], seen, boxes[:, side]) for side in range(4)], axis=-1)
    view = None
    height = float(np.median(boxes[:, 3] - boxes[:, 1]))
    if height < FEWEST_FACE_SHARE * max(shot["width"], shot["height"]):
        window = face_window(np.clip(boxes, 0, None), shot["width"], shot["height"], max(shot["width"], shot["height"]))
        view = window.left, window.top, window.width, window.height
    return Subject(min(shot["num_faces"], MOST_FACES), expected if shot["num_faces"] > 1 else None, view)


def stretches_folder(
    root: Path, shot: Dict[str, Any], chosen: Dict[str, np.ndarray], mesh: Optional[np.ndarray]
) -> Path:
    """Where finished stretches of the track are kept until the step is over."""
    content = {
        "numbers": chosen["numbers"].tolist(),
        "boxes": chosen["face_boxes"].tolist(),
        "shot": {key: value for key, value in shot.items() if key != "sections"},
        "mirrored": mesh is not None,
    }
    return resumed_folder(root / STRETCHES, content)


def images_are_missing(options: ProcessOptions, shot: Dict[str, Any]) -> bool:
    """Whether ``images/`` lacks frames that tracking needs: some were dropped and no finished stretches are left."""
    there = len(list((options.output / contract.IMAGES).glob("[!.]*")))
    stretches = options.output / f".{STRETCHES}.partial"
    return there != shot["num_frames"] and len(list(stretches.glob("[!.]*"))) * STRETCH < 2 * shot["num_frames"]


def frames_cut_off(landmarks: np.ndarray, width: int, height: int) -> np.ndarray:
    """Frames in which more than :data:`CUT_OFF_SHARE` of the face's landmarks lie outside the picture."""
    with np.errstate(invalid="ignore"):
        outside = (landmarks[..., :2] < 0) | (landmarks[..., :2] > np.array([width, height]))
    return np.flatnonzero(outside.any(-1).mean(1) > CUT_OFF_SHARE)


def _deal_with_lost(options: ProcessOptions, lost: np.ndarray, num_frames: int) -> str:
    words = f"The face was lost in {len(lost)} of {num_frames} frames: {name_frames(lost)}"
    if options.on_missing == "fail":
        raise UserError(
            f"the face was lost in {len(lost)} of {num_frames} frames of {options.video} ({name_frames(lost)}); "
            "cut them out of the video, or pass --on-missing drop or --on-missing interpolate."
        )
    done = "they are left out" if options.on_missing == "drop" else "their tracks are interpolated"
    return f"{words}; {done}."


def _renumber_images(root: Path, kept: np.ndarray) -> None:
    """Leave only the kept frames' images, numbered afresh; does nothing where a broken run has done it."""
    if len(list((root / contract.IMAGES).glob("[!.]*"))) == len(kept):
        return
    partial = fresh_folder(root / contract.IMAGES)
    for number, index in enumerate(kept):
        source = root / contract.IMAGES / contract.image_name(int(index))
        (partial / contract.image_name(number)).write_bytes(source.read_bytes())
    put_in_place(partial, root / contract.IMAGES)


def read_track(options: ProcessOptions) -> ExpressionTrack:
    """The file of ``--expressions``.

    Raises:
        UserError: it cannot be read.
    """
    assert options.expressions is not None
    return read_expression_track(options.expressions, options.expressions_fps, options.names)


def place_expressions(
    options: ProcessOptions, track: ExpressionTrack, shot: Dict[str, Any], kept: np.ndarray, times: np.ndarray
) -> Tuple[Expressions, List[str]]:
    """The coefficients of ``--expressions`` for those images that are kept, at their times, and warnings.

    Raises:
        UserError: as :func:`~nerfblendshape_ns.process_data.face.external_expressions.external_expressions`.
    """
    assert options.expressions is not None
    return external_expressions(
        track,
        options.expressions,
        frame_times=times,
        frame_numbers=load_arrays(options.output / FRAMES)["numbers"],
        kept=kept,
        num_source=source_frames(options, shot),
        offset=options.expressions_offset,
    )


def source_frames(options: ProcessOptions, shot: Dict[str, Any]) -> int:
    """Frames of the video, or -1 where only a part of it was looked at."""
    return shot["source_frames"] if options.start is None and options.end is None else -1


def express(options: ProcessOptions, shot: Dict[str, Any], progress: Progress) -> Result:
    """``expr.npy`` and the files beside it.

    Raises:
        UserError: the file of ``--expressions`` is wrong or does not cover the clip.
    """
    progress("expressions", 0, 1)
    tracks = load_arrays(options.output / TRACKS_RAW)
    warnings = []
    if options.expressions is not None:
        expressions, warnings = place_expressions(
            options,
            read_track(options),
            shot,
            tracks["kept_frames"],
            file_io.load_array(options.output / contract.FRAME_TIMES),
        )
        raw = expressions.values
    elif tracks["coefficients"].shape[1]:
        names = [str(name) for name in tracks["names"]]
        raw = fill_gaps(tracks["coefficients"])
        smooth = whittaker(raw, options.smooth_expressions, tracks["breaks"])
        expressions = arkit_expressions(smooth, names, 0.0)
    else:
        mesh = load_arrays(options.output / HEAD_POSES)["mesh"]
        landmarks = fill_gaps(tracks["landmarks"])
        expressions = landmark_pca_expressions(landmarks, mesh, 0.0)
        raw = expressions.values
        smooth = whittaker(raw, options.smooth_expressions, tracks["breaks"])
        expressions = replace(expressions, values=smooth.astype(np.float32))
        warnings.append(
            "Without the Face Landmarker model expressions are 16 principal directions of this clip's landmarks, not "
            "semantic; no slider has a name, and another clip's expressions cannot drive this head."
        )
    file_io.save_array(options.output / EXPRESSIONS_RAW, raw.astype(np.float32))
    contract.save_expressions(options.output, expressions.values, expressions.names, expressions.basis)
    progress("expressions", 1, None)
    moving = expressions.values.std(0) > 0.01
    summary = {
        "basis": expressions.basis,
        "coefficients": len(expressions.names),
        "moving": int(moving.sum()),
        "jitter_raw": float(np.median(jitter(raw)[moving])) if moving.any() else 0.0,
        "jitter": float(np.median(jitter(expressions.values)[moving])) if moving.any() else 0.0,
    }
    return summary, warnings
