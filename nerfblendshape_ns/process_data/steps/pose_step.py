"""The step of data preparation that finds the head's pose in every frame and the clip's own face shape.

Beside the step's summary it puts a section ``pose`` at the top level of ``process.json``, from which reports are drawn:

``jitter_before``, ``jitter_after``
    standard deviation of what a nine-frame parabola cannot follow, before (each frame by itself) and after refinement
    and smoothing: ``yaw``, ``pitch``, ``roll`` in degrees and ``x``, ``y``, ``depth`` in centimetres.
``jitter_before_frames``, ``jitter_after_frames``
    the same of each frame: degrees, the length of the three angles' deviations.
``reprojection_px``
    of each frame: rms distance in pixels of a 512-pixel image between the rigid landmarks and the personalised face
    under the frame's final pose (and as its coefficients move it, with ``--moving-face``).
``reprojection_rms_px``
    the same over the clip.
``bad_frames``
    frames whose landmarks were not believed; their poses follow from their neighbours and the picture.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Optional

import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.arrays import load_arrays, save_arrays
from nerfblendshape_ns.common.smoothing import fill_gaps, jitter, jitter_by_frame, name_frames
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.expression_scale import coefficient_scale
from nerfblendshape_ns.process_data.face.canonical_face import (
    NUM_MESH_LANDMARKS,
    RIGID_LANDMARKS,
    face_from_landmarks,
    read_canonical_face,
)
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.pose import camera_motion, head_points, head_pose, moving_face, pose_refinement
from nerfblendshape_ns.process_data.pose.bad_frames import DISTRUSTED
from nerfblendshape_ns.process_data.pose.camera_motion import Intrinsics
from nerfblendshape_ns.process_data.steps.frame_step import Progress
from nerfblendshape_ns.process_data.steps.track_steps import HEAD_POSES, TRACKS_RAW, Result
from nerfblendshape_ns.process_data.video.frames import ImageFolder, LabelFolder

POSES_RAW = "poses_raw.npy"
"""Each frame's pose by itself, before refinement and smoothing: float64 ``[frames, 4, 4]``, as in transforms.json."""
FIT_ROUNDS = 16
# A refinement that takes the rigid landmarks farther than this from the picture's, in pixels of a 512-pixel image, is
# not taken.
MOST_STRAYING = 2.4


def run(
    options: ProcessOptions, model: Optional[Path], shot: Dict[str, Any], moving: bool, progress: Progress
) -> Result:
    """Head poses and the personalised mesh into ``head_poses.npz``.

    Args:
        options: of the run.
        model: the Face Landmarker's, or None.
        shot: summary of the step that wrote the images.
        moving: whether to fit them last to a face that moves with the coefficients, which are in ``expr.npy`` then.
        progress: the bar.
    """
    tracks = load_arrays(options.output / TRACKS_RAW)
    landmarks = fill_gaps(tracks["landmarks"])
    observed = landmarks[:, :NUM_MESH_LANDMARKS, :2].astype(np.float64)
    intrinsics = Intrinsics(options.focal * shot["short_side"], shot["centre_x"], shot["centre_y"])
    reference = (face_from_landmarks(landmarks) if model is None else read_canonical_face(model)).vertices
    image_size = max(shot["width"], shot["height"])
    passes = [pose_refinement.PASS_BANDS, pose_refinement.PASS_BANDS[-1:]] if options.refine_poses else []
    rounds = sum(pose_refinement.num_rounds(bands) for bands in passes) + (moving_face.ROUNDS if moving else 0)
    progress("head pose", 0, FIT_ROUNDS + rounds)

    def advance(_: int) -> None:
        progress("head pose", 1, None)

    rigid, breaks = observed[:, RIGID_LANDMARKS], tracks["breaks"]
    fit = head_pose.fit_clip(
        rigid,
        reference[RIGID_LANDMARKS],
        intrinsics,
        options.smooth_poses,
        image_size=image_size,
        rounds=FIT_ROUNDS,
        breaks=breaks,
        progress=advance,
    )
    mesh = head_pose.fit_mesh(fit, observed, reference, intrinsics, image_size=image_size)
    landmark_rms = head_pose.rms(fit.reprojection_errors(rigid, intrinsics))
    images = ImageFolder(options.output, len(observed))
    labels = LabelFolder(options.output, len(observed), shot["height"], shot["width"])
    for bands in passes:
        usual = head_points.usual_frame(fit)
        hair = head_points.hair_points(labels[usual], fit, usual, mesh, intrinsics)
        points = [head_points.face_points(mesh)] + ([] if hair is None else [hair])
        poses = pose_refinement.refine_poses(
            images, fit, points, rigid, intrinsics, options.smooth_poses, bands, advance, breaks
        )
        refined = replace(fit, poses=poses)
        refined_mesh = head_pose.fit_mesh(refined, observed, reference, intrinsics, image_size=image_size)
        refined.shape = refined_mesh[RIGID_LANDMARKS]
        strayed = head_pose.rms(refined.reprojection_errors(rigid, intrinsics))
        # Texture that leads far from the landmarks is not the head's: swinging hair, a hat, a hand.
        if strayed > max(landmark_rms, MOST_STRAYING * image_size / 512.0):
            break
        fit, mesh = refined, refined_mesh
    errors = fit.reprojection_errors(rigid, intrinsics)
    if moving:
        names = file_io.load_json(options.output / contract.EXPRESSION_NAMES)["names"]
        expression = file_io.load_array(options.output / contract.EXPRESSIONS).astype(np.float64)
        expression = expression * coefficient_scale(expression, names)
        poses, face = moving_face.refine_on_moving_face(
            fit,
            mesh,
            observed,
            expression,
            intrinsics,
            options.smooth_poses,
            image_size=image_size,
            breaks=breaks,
            progress=advance,
        )
        fit = replace(fit, poses=poses)
        mesh = head_pose.fit_mesh(fit, observed, reference, intrinsics, image_size=image_size)
        fit.shape = face.shapes(expression)[:, RIGID_LANDMARKS]
        errors = fit.reprojection_errors(rigid, intrinsics)
        fit.shape = mesh[RIGID_LANDMARKS]
    frame_errors = np.sqrt((errors**2).mean(1))
    single, single_reference = head_pose.initial_poses(fit.shape, rigid, intrinsics)
    angles = camera_motion.angles_in_degrees(fit.poses, fit.reference)
    angles_single = camera_motion.angles_in_degrees(single, single_reference)
    raw_matrices = camera_motion.camera_to_head(single, single_reference)
    file_io.save_array(options.output / POSES_RAW, raw_matrices)
    bad = np.flatnonzero(np.broadcast_to(fit.trust, len(rigid)) < DISTRUSTED)
    save_arrays(
        options.output / HEAD_POSES,
        camera_to_head=camera_motion.camera_to_head(fit.poses, fit.reference),
        camera_to_head_raw=raw_matrices,
        angles=angles,
        angles_raw=angles_single,
        translation=fit.poses[:, 3:],
        translation_raw=single[:, 3:],
        frame_errors=frame_errors,
        mesh=mesh.astype(np.float32),
        rigid_shape=fit.shape,
        rigid_noise=fit.noise,
        focal=np.array(intrinsics.focal),
    )
    per_512 = 512.0 / image_size
    rms = head_pose.rms(errors)
    warnings = []
    if rms * per_512 > 2.5:
        warnings.append(
            f"The rigid landmarks reproject with {rms * per_512:.1f} pixels rms (of a 512-pixel image), more than the "
            "2.5 that a good track has: the avatar may be blurred."
        )
    if len(bad):
        warnings.append(
            f"The landmarks of {name_frames(bad)} are not believed (they jump or fit no face); the head pose there is "
            "laid between the neighbours'."
        )
    poor = np.setdiff1d(np.flatnonzero(frame_errors * per_512 > 6.0), bad)
    if len(poor):
        warnings.append(f"The head pose is doubtful in {name_frames(poor)} (more than 6 pixels of a 512-pixel image).")
    summary = {
        "focal_pixels": intrinsics.focal,
        "reprojection_rms_pixels": rms,
        "reprojection_rms_pixels_at_512_landmarks_only": landmark_rms * per_512,
        "reprojection_rms_pixels_at_512": rms * per_512,
        "reprojection_max_frame_pixels_at_512": float(frame_errors.max() * per_512),
        "jitter_degrees_raw": jitter(angles_single).round(4).tolist(),
        "jitter_degrees": jitter(angles).round(4).tolist(),
        "jitter_translation_raw": (jitter(single[:, 3:])).round(5).tolist(),
        "jitter_translation": (jitter(fit.poses[:, 3:])).round(5).tolist(),
        "yaw_range_degrees": [float(angles[:, 0].min()), float(angles[:, 0].max())],
        "pitch_range_degrees": [float(angles[:, 1].min()), float(angles[:, 1].max())],
        "roll_range_degrees": [float(angles[:, 2].min()), float(angles[:, 2].max())],
        "distance_cm": float(np.median(fit.poses[:, 5])),
        "shape_deviation_cm": float(np.linalg.norm(fit.shape - reference[RIGID_LANDMARKS], axis=1).mean()),
        "bad_frames": bad.tolist(),
        "sections": {
            "pose": {
                "jitter_before": _jitter_by_name(angles_single, single),
                "jitter_after": _jitter_by_name(angles, fit.poses),
                "jitter_before_frames": np.linalg.norm(jitter_by_frame(angles_single), axis=1).round(4).tolist(),
                "jitter_after_frames": np.linalg.norm(jitter_by_frame(angles), axis=1).round(4).tolist(),
                "reprojection_px": (frame_errors * per_512).round(3).tolist(),
                "reprojection_rms_px": round(rms * per_512, 4),
                "bad_frames": bad.tolist(),
            }
        },
    }
    return summary, warnings


def _jitter_by_name(angles: np.ndarray, poses: np.ndarray) -> Dict[str, float]:
    """Jitter of angles in degrees and of translation in centimetres, by name."""
    names = ("yaw", "pitch", "roll", "x", "y", "depth")
    return dict(zip(names, np.concatenate([jitter(angles), jitter(poses[:, 3:])]).round(5).tolist()))
