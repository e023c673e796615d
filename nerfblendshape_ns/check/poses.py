"""Head poses: ranges, jitter, outliers, and whether they fit the landmarks."""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np
from scipy.spatial.transform import Rotation

from nerfblendshape_ns.check.findings import Section, count_of
from nerfblendshape_ns.common.frame_numbers import name_frames
from nerfblendshape_ns.common.smoothing import jitter
from nerfblendshape_ns.data.layouts import Clip
from nerfblendshape_ns.data.splits import Splits

ANGLES = ("yaw", "pitch", "roll")
OUTLIER_DEGREES = 3.0
"""A frame whose rotation is so far from the median of its neighbours is an outlier, if its scatter allows less."""
OUTLIER_DISTANCE = 0.03
"""The same for its position, as a fraction of the distance between camera and head."""
OUTLIER_SCATTERS = 8.0
JITTER_DEGREES, JITTER_FPS = 0.5, 25.0
"""More jitter than this is worth a warning at this frame rate and above. Below it a head's own motion counts as jitter
too, with the square of the time between frames: in a good clip of 30 frames per second 0.17 degrees, in every second
frame of it 0.52."""
STILL_DEGREES = 4.0
"""A head that turns less shows too little of its depth."""
BEYOND_DEGREES = 5.0
REPROJECTION_FRACTION = 0.05
"""Median distance between mesh and landmarks, as a fraction of the face's height, beyond which they do not agree."""


def check_poses(clip: Clip, splits: Splits) -> Section:
    """Check the poses of a clip; frames without a usable one, which the reader has named, are left out."""
    section = Section("poses")
    poses = clip.camera_to_head
    finite = np.isfinite(poses).all((1, 2))
    positions = np.flatnonzero(finite)
    if len(positions) == 0:
        return section
    poses = poses[positions]
    numbers = clip.img_ids[positions]
    angles = head_angles(poses)
    # The origin of head space in each camera: OpenGL cameras look along -z.
    head_in_camera = -np.einsum("nji,nj->ni", poses[:, :3, :3], poses[:, :3, 3])
    distance = np.linalg.norm(head_in_camera, axis=1)
    behind = head_in_camera[:, 2] >= 0
    if behind.any():
        everywhere = behind.mean() > 0.9
        section.error(
            f"the head is behind the camera in {'all' if everywhere else len(numbers[behind])} frames",
            "a transform_matrix must be camera-to-head with OpenGL axes (the camera looks along -z, y is up); "
            + ("turn OpenCV poses round, or invert head-to-camera ones" if everywhere else "correct or drop them"),
            numbers[behind],
        )
    _motion(section, angles, distance, numbers, clip.fps)
    _outliers(section, poses, distance, numbers)
    _views(section, angles, positions, splits)
    if not behind.any():
        _reprojection(section, clip, poses, positions, numbers)
    return section


def head_angles(poses: np.ndarray) -> np.ndarray:
    """Yaw, pitch and roll ``[frames, 3]`` in degrees of the head seen by each camera-to-head pose ``[frames, 4, 4]``.

    Zero looks straight into the camera.
    """
    return Rotation.from_matrix(poses[:, :3, :3].transpose(0, 2, 1)).as_euler("yxz", degrees=True)


def _motion(section: Section, angles: np.ndarray, distance: np.ndarray, numbers: np.ndarray, fps: float) -> None:
    ranges = {name: (float(angles[:, i].min()), float(angles[:, i].max())) for i, name in enumerate(ANGLES)}
    angle_jitter = jitter(_unwrapped(angles))
    distance_jitter = float(jitter(distance[:, None])[0] / max(np.median(distance), 1e-9))
    section.figures.update(
        {
            **{f"{name}_range_degrees": list(limits) for name, limits in ranges.items()},
            "jitter_degrees": angle_jitter.tolist(),
            "distance_range": [float(distance.min()), float(distance.max())],
            "distance_jitter_share": distance_jitter,
        }
    )
    words = ", ".join(f"{name} {low:.0f} to {high:.0f}" for name, (low, high) in ranges.items())
    section.rows.append(("head turns", f"{words} degrees; distance {distance.min():.3g} to {distance.max():.3g}"))
    words = "{:.3f}, {:.3f}, {:.3f} degrees; distance {:.2%}".format(*angle_jitter, distance_jitter)
    section.rows.append(("pose jitter", words))
    if angle_jitter.max() > JITTER_DEGREES * (max(1.0, JITTER_FPS / fps) if fps > 0 else 1.0) ** 2:
        section.warn(
            f"the poses jitter by {angle_jitter.max():.2f} degrees from frame to frame: the avatar will be blurred",
            "smooth them (nbs-process-data --smooth-poses)",
        )
    turned = max(ranges[name][1] - ranges[name][0] for name in ("yaw", "pitch"))
    if turned < STILL_DEGREES and len(numbers) > 1:
        section.warn(
            f"the head turns by no more than {turned:.1f} degrees: its depth is a guess, other views will be wrong",
            "fine for a frontal avatar; for other views use a clip in which the head turns slowly to both sides",
        )


def _unwrapped(angles: np.ndarray) -> np.ndarray:
    """Angles without jumps of 360 degrees."""
    return np.degrees(np.unwrap(np.radians(angles), axis=0))


def _outliers(section: Section, poses: np.ndarray, distance: np.ndarray, numbers: np.ndarray) -> None:
    """Single frames that leave the track of their neighbours."""
    if len(poses) < 5:
        return
    # Neighbours by position in the clip; a gap in the numbers is a jump in time, and so no outlier's evidence.
    window = np.clip(np.arange(len(poses))[:, None] + np.array([-2, -1, 1, 2]), 0, len(poses) - 1)
    near = np.abs(numbers[window] - numbers[:, None]).max(1) <= 4 * np.median(np.diff(numbers))
    centre = np.median(poses[window][:, :, :3, 3], axis=1)
    apart = np.linalg.norm(poses[:, :3, 3] - centre, axis=1) / distance
    # Entries of a rotation have no wrap-around; the nearest rotation to their median is the neighbours' middle.
    left, _, right = np.linalg.svd(np.median(poses[window][:, :, :3, :3], axis=1))
    left[:, :, 2] *= np.linalg.det(left @ right)[:, None]
    middle = Rotation.from_matrix(left @ right)
    turned = np.degrees((middle.inv() * Rotation.from_matrix(poses[:, :3, :3])).magnitude())
    outlier = near & (
        (turned > max(OUTLIER_DEGREES, OUTLIER_SCATTERS * float(np.median(turned))))
        | (apart > max(OUTLIER_DISTANCE, OUTLIER_SCATTERS * float(np.median(apart))))
    )
    section.figures["outliers"] = numbers[outlier].tolist()
    if outlier.any():
        worst = int(np.argmax(np.where(outlier, turned / OUTLIER_DEGREES + apart / OUTLIER_DISTANCE, 0.0)))
        section.warn(
            f"{count_of(int(outlier.sum()), 'pose')} far from the neighbouring frames' in "
            f"{name_frames(numbers[outlier], 6)}; frame {numbers[worst]} is turned by {turned[worst]:.1f} degrees and "
            f"moved by {apart[worst]:.1%} of its distance",
            "look at these frames; drop them or process the video again with a higher --smooth-poses",
            numbers[outlier],
        )


def _views(section: Section, angles: np.ndarray, positions: np.ndarray, splits: Splits) -> None:
    """Test frames whose head is turned beyond what training saw."""
    train, test = np.isin(positions, splits.train), np.isin(positions, splits.test)
    if not train.any() or not test.any():
        return
    low, high = angles[train].min(0), angles[train].max(0)
    beyond = np.maximum(low - angles[test], angles[test] - high).max(0)
    section.figures["test_beyond_train_degrees"] = dict(zip(ANGLES, np.maximum(beyond, 0.0).tolist()))
    if beyond.max() > BEYOND_DEGREES:
        words = [f"{name} by {value:.0f}" for name, value in zip(ANGLES, beyond) if value > BEYOND_DEGREES]
        section.note(
            f"test frames turn the head further than any training frame: {', '.join(words)} degrees",
            "test figures will be those of unseen views; mind this when comparing them",
        )


def _reprojection(section: Section, clip: Clip, poses: np.ndarray, positions: np.ndarray, numbers: np.ndarray) -> None:
    """Distance between the face mesh under the poses and the landmarks, where the dataset has both."""
    errors = reprojection_errors(clip, poses, positions)
    if errors is None:
        return
    pixels, fraction = errors
    median, worst, worst_frame = float(np.median(pixels)), float(pixels.max()), int(numbers[pixels.argmax()])
    section.figures["reprojection"] = {"median_pixels": median, "worst_pixels": worst, "worst_frame": worst_frame}
    words = f"median {median:.1f} px apart, worst frame {worst_frame} with {worst:.1f} px"
    section.rows.append(("mesh on landmarks", words))
    apart = fraction > REPROJECTION_FRACTION
    if apart.mean() > 0.5:
        section.error(
            f"the face mesh under the poses lies {np.median(fraction):.0%} of the face's height beside the landmarks: "
            "poses, intrinsics and landmarks do not belong together",
            "check that all come from the same images at the same size; process the video again",
        )
    elif apart.any():
        section.warn(
            f"the face mesh lies far beside the landmarks in {name_frames(numbers[apart], 6)}",
            "look at these frames; drop those whose pose or landmarks are wrong",
            numbers[apart],
        )


def reprojection_errors(
    clip: Clip, poses: np.ndarray, positions: np.ndarray
) -> Optional[Tuple[np.ndarray, np.ndarray]]:
    """Median distance over the face's points between the projected mesh and the landmarks, for each frame.

    The mesh is the neutral face, so that moving lips add to it; the median over all points hardly notices.

    Returns:
        In pixels, and as a fraction of the face's height, both ``[frames]``; None without mesh, landmarks or camera.
    """
    if clip.face_mesh is None or clip.landmarks is None or min(clip.fl_x, clip.fl_y) <= 0:
        return None
    count = min(len(clip.face_mesh), clip.landmarks.shape[1])
    landmarks = clip.landmarks[positions][:, :count].astype(np.float64)
    points = np.einsum("nji,npj->npi", poses[:, :3, :3], clip.face_mesh[None, :count] - poses[:, None, :3, 3])
    points[..., 2] = np.minimum(points[..., 2], -1e-6)
    apart = np.linalg.norm(clip.project(points) - landmarks, axis=-1)
    if not np.isfinite(apart).all():
        return None
    pixels = np.median(apart, axis=1)
    return pixels, pixels / np.maximum(np.ptp(landmarks[..., 1], axis=1), 1.0)
