"""The step of data preparation that finds the head's pose in every frame and the clip's own face shape.

Besides the step's summary it puts a section ``pose`` at the top level of ``process.json``, from which the report is
drawn:

``jitter_before``, ``jitter_after``
    standard deviation of the residual of a nine-frame parabola, before (each frame by itself) and after refinement and
    smoothing: ``yaw``, ``pitch``, ``roll`` in degrees and ``x``, ``y``, ``depth`` in centimetres.
``jitter_before_frames``, ``jitter_after_frames``
    the same residual per frame: degrees, the norm over the three angles.
``reprojection_px``
    per frame: rms distance in pixels of a 512-pixel image between the rigid landmarks and the personalised face under
    the frame's final pose.
``reprojection_rms_px``
    the same over the clip.
``bad_frames``
    frames whose landmarks were not believed; their poses follow from their neighbours and the image.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List

import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.arrays import load_arrays, save_arrays
from nerfblendshape_ns.common.frame_numbers import name_frames
from nerfblendshape_ns.common.smoothing import jitter, jitter_by_frame
from nerfblendshape_ns.data.contract import MESH_POINTS
from nerfblendshape_ns.process_data.face.canonical_face import RIGID_LANDMARKS, read_canonical_face
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.pose import head_points, head_pose, pose_geometry, pose_refinement
from nerfblendshape_ns.process_data.pose.landmark_trust import DISTRUSTED
from nerfblendshape_ns.process_data.pose.pose_geometry import Intrinsics
from nerfblendshape_ns.process_data.steps.step_record import Progress, Result
from nerfblendshape_ns.process_data.steps.track_step import TRACKS_RAW, filled_landmarks, images_and_labels
from nerfblendshape_ns.process_data.video.frame_folders import LabelFolder

HEAD_POSES = "head_poses.npz"
"""``camera_to_head`` as in ``transforms.json``, ``focal`` (pixels), ``mesh`` (the personalised face), ``trust`` in the
landmarks of each frame (0 to 1), ``poses`` and ``reference`` as in :mod:`.pose_geometry`, and for the report ``angles``
and ``translation`` (degrees, centimetres; ``_raw``: each frame by itself)."""
POSES_RAW = "poses_raw.npy"
"""Each frame's pose by itself, before refinement and smoothing: float64 ``[frames, 4, 4]``, as in transforms.json."""
# A refinement that takes the rigid landmarks farther than both, in pixels of a 512-pixel image and times what the
# landmark fit leaves, is discarded: of seven clips that of blurred, with 4.5 pixels, 1.7 times as many.
MOST_STRAYING, MOST_GROWTH = 2.4, 1.5


def run(options: ProcessOptions, model: Path, frame_info: Dict[str, Any], progress: Progress) -> Result:
    """Head poses and the personalised mesh into ``head_poses.npz``.

    Args:
        options: of the run.
        model: the Face Landmarker.
        frame_info: summary of the step ``frames``.
        progress: the step's bar.
    """
    observed = filled_landmarks(options.output)[:, :MESH_POINTS].astype(np.float64)
    rigid, breaks = observed[:, RIGID_LANDMARKS], load_arrays(options.output / TRACKS_RAW)["breaks"]
    intrinsics = Intrinsics(options.focal * frame_info["short_side"], frame_info["centre_x"], frame_info["centre_y"])
    reference = read_canonical_face(model)
    image_size = max(frame_info["width"], frame_info["height"])
    per_512 = 512.0 / image_size
    passes = [pose_refinement.PASS_BANDS, pose_refinement.PASS_BANDS[-1:]] if options.refine_poses else []
    rounds = head_pose.ROUNDS + pose_refinement.ROUNDS_PER_BAND * sum(map(len, passes))
    progress(0, rounds)

    def fit_mesh(fit: head_pose.PoseFit) -> np.ndarray:
        return head_pose.fit_mesh(fit, observed, reference, intrinsics, image_size=image_size)

    fit = head_pose.fit_clip(
        rigid,
        reference[RIGID_LANDMARKS],
        intrinsics,
        options.smooth_poses,
        image_size=image_size,
        breaks=breaks,
        progress=progress,
    )
    mesh = fit_mesh(fit)
    landmark_rms = head_pose.rms(fit.reprojection_errors(rigid, intrinsics))
    images, labels = images_and_labels(options.output)
    for bands in passes:
        points = _tracked_points(labels, fit, mesh, intrinsics)
        poses = pose_refinement.refine_poses(
            images, fit, points, rigid, intrinsics, options.smooth_poses, bands, progress, breaks
        )
        refined = replace(fit, poses=poses)
        refined_mesh = fit_mesh(refined)
        refined.shape = refined_mesh[RIGID_LANDMARKS]
        strayed = head_pose.rms(refined.reprojection_errors(rigid, intrinsics))
        if strays(strayed * per_512, landmark_rms * per_512):
            break
        fit, mesh = refined, refined_mesh
    errors = fit.reprojection_errors(rigid, intrinsics)
    frame_errors = np.sqrt((errors**2).mean(1)) * per_512
    rms = head_pose.rms(errors) * per_512
    bad = np.flatnonzero(fit.trust < DISTRUSTED)
    single, single_reference = head_pose.initial_poses(fit.shape, rigid, intrinsics)
    angles = pose_geometry.angles_in_degrees(fit.poses, fit.reference)
    angles_single = pose_geometry.angles_in_degrees(single, single_reference)
    file_io.save_array(options.output / POSES_RAW, pose_geometry.camera_to_head(single, single_reference))
    save_arrays(
        options.output / HEAD_POSES,
        camera_to_head=pose_geometry.camera_to_head(fit.poses, fit.reference),
        angles=angles,
        angles_raw=angles_single,
        translation=fit.poses[:, 3:],
        translation_raw=single[:, 3:],
        mesh=mesh.astype(np.float32),
        focal=np.array(intrinsics.focal),
        trust=fit.trust,
        poses=fit.poses,
        reference=fit.reference,
    )
    summary = {
        "focal_pixels": intrinsics.focal,
        "reprojection_rms_pixels_at_512_landmarks_only": landmark_rms * per_512,
        "reprojection_rms_pixels_at_512": rms,
        "reprojection_max_frame_pixels_at_512": float(frame_errors.max()),
        "yaw_range_degrees": [float(angles[:, 0].min()), float(angles[:, 0].max())],
        "pitch_range_degrees": [float(angles[:, 1].min()), float(angles[:, 1].max())],
        "roll_range_degrees": [float(angles[:, 2].min()), float(angles[:, 2].max())],
        "distance_cm": float(np.median(fit.poses[:, 5])),
        "shape_deviation_cm": float(np.linalg.norm(fit.shape - reference[RIGID_LANDMARKS], axis=1).mean()),
        "sections": {
            "pose": {
                "jitter_before": _jitter_by_name(angles_single, single),
                "jitter_after": _jitter_by_name(angles, fit.poses),
                "jitter_before_frames": np.linalg.norm(jitter_by_frame(angles_single), axis=1).round(4).tolist(),
                "jitter_after_frames": np.linalg.norm(jitter_by_frame(angles), axis=1).round(4).tolist(),
                "reprojection_px": frame_errors.round(3).tolist(),
                "reprojection_rms_px": round(rms, 4),
                "bad_frames": bad.tolist(),
            }
        },
    }
    return summary, _warnings(rms, frame_errors, bad)


def strays(refined: float, landmarks: float) -> bool:
    """Whether texture leads so far from the landmarks that it is not the head's: swinging hair, a hat, a hand, blur.

    Args:
        refined: rms distance of the rigid landmarks from the image's under the refined poses, pixels of 512.
        landmarks: the same under the poses that fit them best.
    """
    return refined > max(MOST_GROWTH * landmarks, MOST_STRAYING)


def _tracked_points(
    labels: LabelFolder, fit: head_pose.PoseFit, mesh: np.ndarray, intrinsics: Intrinsics
) -> List[head_points.PointSet]:
    """Points on the upper face and, where enough of it is seen, on the hair."""
    frame = head_points.median_frame(fit)
    hair = head_points.hair_points(labels[frame], fit, frame, mesh, intrinsics)
    return [head_points.face_points(mesh)] + ([] if hair is None else [hair])


def _warnings(rms: float, frame_errors: np.ndarray, bad: np.ndarray) -> List[str]:
    """What to look at, from errors in pixels of a 512-pixel image and the frames that were not believed."""
    warnings = []
    if rms > 2.5:
        warnings.append(
            f"The rigid landmarks reproject with {rms:.1f} pixels rms (of a 512-pixel image), more than the 2.5 of a "
            "good track: the avatar may be blurred."
        )
    if len(bad):
        warnings.append(
            f"The landmarks of {name_frames(bad)} are not believed (they jump or fit no face); the head pose there is "
            "interpolated between the neighbours'."
        )
    poor = np.setdiff1d(np.flatnonzero(frame_errors > 6.0), bad)
    if len(poor):
        warnings.append(f"The head pose is doubtful in {name_frames(poor)} (more than 6 pixels of a 512-pixel image).")
    return warnings


def _jitter_by_name(angles: np.ndarray, poses: np.ndarray) -> Dict[str, float]:
    """Jitter of angles in degrees and of translation in centimetres, by name."""
    names = ("yaw", "pitch", "roll", "x", "y", "depth")
    return dict(zip(names, np.concatenate([jitter(angles), jitter(poses[:, 3:])]).round(5).tolist()))
