"""The step of data preparation that writes the expression coefficients: the tracker's, or those of a file."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import numpy as np

from nerfblendshape_ns.coefficient_names.arkit import ARKIT_BASIS, MEDIAPIPE_NAMES
from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.arrays import load_arrays
from nerfblendshape_ns.common.smoothing import fill_gaps, jitter, whittaker
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.expression_scale import coefficient_scale
from nerfblendshape_ns.expressions.tracks import ExpressionTrack, read_expression_track
from nerfblendshape_ns.process_data.face.external_expressions import external_expressions
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.pose.coefficient_fit import fit_coefficients
from nerfblendshape_ns.process_data.pose.head_pose import rms
from nerfblendshape_ns.process_data.pose.landmark_trust import DISTRUSTED
from nerfblendshape_ns.process_data.pose.pose_geometry import Intrinsics
from nerfblendshape_ns.process_data.steps.frame_step import FRAMES
from nerfblendshape_ns.process_data.steps.pose_step import HEAD_POSES
from nerfblendshape_ns.process_data.steps.step_record import Progress, Result
from nerfblendshape_ns.process_data.steps.track_step import TRACKS_RAW

EXPRESSIONS_RAW = "expr_raw.npy"
"""Coefficients as tracked, neither fitted to the landmarks nor smoothed: float32 ``[frames, basis]``, columns as in
``expr.npy``."""
# With fewer of the tracker's coefficients a face hardly moves: a photograph has three, by noise.
FEW_MOVING = 10


def run(options: ProcessOptions, frame_info: Dict[str, Any], progress: Progress) -> Result:
    """``expr.npy`` and the files that belong to it.

    Raises:
        UserError: the file of ``--expressions`` is wrong or does not cover the clip.
    """
    tracks = load_arrays(options.output / TRACKS_RAW)
    warnings: List[str] = []
    if options.expressions is not None:
        given = read_track(options)
        times = file_io.load_array(options.output / contract.FRAME_TIMES)
        raw, warnings = place_expressions(options, given, frame_info, tracks["kept_frames"], times)
        values, names, basis, fit = raw, list(given.names), given.basis_id, {}
    else:
        raw = fill_gaps(tracks["coefficients"])
        values, fit = _fitted(options, frame_info, tracks, raw)
        names, basis = list(MEDIAPIPE_NAMES), ARKIT_BASIS
    file_io.save_array(options.output / EXPRESSIONS_RAW, raw)
    contract.save_expressions(options.output, values, names, basis)
    progress(1)
    # The tracker's have one unit, in which a still face shows noise; those of a file may have any.
    scale = 1.0 if basis == ARKIT_BASIS else coefficient_scale(values, names)
    moving = (values * scale).std(0) > 0.01
    if options.expressions is None and moving.sum() < FEW_MOVING:
        warnings.append(
            f"Only {moving.sum()} of {len(names)} coefficients move: the face hardly does, and an avatar can do only "
            "what its clip shows; record more expressions."
        )
    summary = {
        "basis": basis,
        "coefficients": len(names),
        "moving": int(moving.sum()),
        "jitter_raw": float(np.median(jitter(raw)[moving])) if moving.any() else 0.0,
        "jitter": float(np.median(jitter(values)[moving])) if moving.any() else 0.0,
        **fit,
    }
    return summary, warnings


def _fitted(
    options: ProcessOptions, frame_info: Dict[str, Any], tracks: Dict[str, np.ndarray], raw: np.ndarray
) -> Tuple[np.ndarray, Dict[str, float]]:
    """The tracker's coefficients, smoothed and fitted to landmarks that are smoothed alike, and what that changed."""
    head, smoothness, breaks = load_arrays(options.output / HEAD_POSES), options.smooth_expressions, tracks["breaks"]
    trust = head["trust"] * tracks["found"]
    believed = trust >= DISTRUSTED
    face = len(head["mesh"])
    landmarks = tracks["landmarks"][:, [*range(face), *contract.IRIS_LANDMARKS], :2]
    irises = [head["mesh"][list(lid)].mean(0) for lid in (contract.RIGHT_EYE_LANDMARKS, contract.LEFT_EYE_LANDMARKS)]
    # What is not believed must not be smeared over the frames beside it.
    landmarks = fill_gaps(np.where((believed | ~believed.any())[:, None, None], landmarks, np.nan))
    smooth = np.clip(whittaker(raw, smoothness, breaks), 0.0, 1.0)
    image_size = max(frame_info["width"], frame_info["height"])
    values, *distances = fit_coefficients(
        whittaker(landmarks.reshape(len(raw), -1), smoothness, breaks).reshape(landmarks.shape),
        smooth,
        head["poses"],
        head["reference"],
        np.concatenate([head["mesh"], irises]),
        Intrinsics(float(head["focal"]), frame_info["centre_x"], frame_info["centre_y"]),
        trust,
        image_size,
        (face, face + 1),
    )
    before, after = (rms(distance) * 512.0 / image_size for distance in distances)
    deviation = smooth.std(0)
    change = ((values - smooth) / np.maximum(deviation, 1e-9))[:, deviation > 0.01]
    return values.astype(np.float32, order="C"), {
        "landmarks_rms_pixels_at_512_tracked": before,
        "landmarks_rms_pixels_at_512": after,
        "change_rms_deviations": rms(change) if change.size else 0.0,
    }


def read_track(options: ProcessOptions) -> ExpressionTrack:
    """The file of ``--expressions``.

    Raises:
        UserError: it cannot be read.
    """
    assert options.expressions is not None
    return read_expression_track(options.expressions, options.expressions_fps, options.names)


def place_expressions(
    options: ProcessOptions, track: ExpressionTrack, frame_info: Dict[str, Any], kept: np.ndarray, times: np.ndarray
) -> Tuple[np.ndarray, List[str]]:
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
        num_source=source_frames(options, frame_info),
        offset=options.expressions_offset,
    )


def source_frames(options: ProcessOptions, frame_info: Dict[str, Any]) -> int:
    """Frames of the video, or -1 where only a part of it was decoded."""
    return frame_info["source_frames"] if options.start is None and options.end is None else -1
