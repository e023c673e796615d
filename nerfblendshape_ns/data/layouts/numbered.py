"""What the layouts that descend from AD-NeRF share: a folder for each purpose, in it a file per frame, its ``img_id``.

``ori_imgs/`` full frames and ``.lms`` landmarks, ``gt_imgs/`` frames on another background, ``head_imgs/`` the head
alone, ``torso_imgs/`` the torso as RGBA, ``parsing/`` labels as colours (in OpenCV's order blue, green, red: head
255 0 0, neck 0 255 0, torso 0 0 255, background white), ``head_masks/``, ``bc.jpg`` the clean plate. Transforms are
OpenGL camera-to-world already; the repositories' own axis permutation and scale are not needed.
"""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from nerfblendshape_ns.coefficient_names.head_columns import has_neutral_column
from nerfblendshape_ns.coefficient_names.unnamed import basis_of_size, unnamed
from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.contract import MEDIAPIPE_POINTS, MESH_POINTS, landmark_rect
from nerfblendshape_ns.data.frame_images import FrameFiles
from nerfblendshape_ns.data.layouts.clip import ClipFrame, Rect
from nerfblendshape_ns.data.layouts.expression_arrays import check_expressions, check_range_files
from nerfblendshape_ns.data.layouts.fields import (
    frame_rate,
    optional_rect,
    optional_rects,
    read_names,
    require_number,
    require_pose,
)

IMAGE_FOLDERS = (("ori_imgs", False), ("gt_imgs", False), ("head_imgs", True))
"""Where frames may be, best first, and whether only the head is on them."""
LABEL_FOLDERS = (("parsing", False), ("head_masks", True))
"""Where labels may be, best first, and whether they are head masks."""
LANDMARK_FOLDER, TORSO_FOLDER, BACKGROUND = "ori_imgs", "torso_imgs", "bc.jpg"

POSE_ANGLE_CORRELATION = 0.97
"""A column that follows an angle of the head's rotation this closely is that angle."""
STILL_DEGREES = 0.2
"""An angle whose standard deviation is below this is compared by value."""

# Points of the 68-landmark scheme (Multi-PIE); left and right are the person's.
_LIPS_68, _RIGHT_EYE_68, _LEFT_EYE_68 = slice(48, 68), slice(36, 42), slice(42, 48)


def read_frames(root: Path, entries: Sequence[Dict[str, Any]], path: Path) -> Tuple[Tuple[ClipFrame, ...], Any]:
    """The frames of a clip and its landmarks.

    Args:
        root: the dataset directory.
        entries: frame entries with ``img_id`` and ``transform_matrix``; rectangles (x, y, width, height) where the
            layout has them, else they are taken from the landmarks.
        path: the transforms file, for messages.

    Returns:
        The frames, and float32 ``[frames, 468 or 478, 2]`` landmarks where there are MediaPipe's, else None.

    Raises:
        UserError: there is no image or label for the first frame, or a pose or rectangle is wrong.
    """
    first = entries[0]["img_id"]
    image_folder, image_suffix, head_only = find_folder(root, IMAGE_FOLDERS, first)
    label_folder, label_suffix, is_mask = find_folder(root, LABEL_FOLDERS, first)
    has_torso = (root / TORSO_FOLDER).is_dir()
    landmarks = read_landmarks(root, [entry["img_id"] for entry in entries])
    frames = []
    for entry, points in zip(entries, landmarks):
        img_id = entry["img_id"]
        labels = root / label_folder / f"{img_id}{label_suffix}"
        torso = root / TORSO_FOLDER / f"{img_id}.png"
        face, mouth, eyes = _rects(points)
        frames.append(
            ClipFrame(
                img_id=img_id,
                files=FrameFiles(
                    image=root / image_folder / f"{img_id}{image_suffix}",
                    labels=None if is_mask else labels,
                    head_mask=labels if is_mask else None,
                    coloured_labels=True,
                    head_only=head_only,
                    torso=torso if has_torso and torso.exists() else None,
                ),
                camera_to_head=require_pose(entry, path),
                face_rect=optional_rect(entry, "face_rect", path) or face,
                mouth_rect=optional_rect(entry, "lip_rect", path) or mouth,
                eye_rects=optional_rects(entry, "eye_rects", path) or eyes,
            )
        )
    return tuple(frames), _stack_mediapipe(landmarks)


def camera(document: Any, path: Path, image: Path) -> Dict[str, Any]:
    """The fields of a clip's camera: one ``focal_len`` and the principal point in pixels, the size of an image.

    Args:
        document: the transforms file's content.
        path: the transforms file, for messages.
        image: the first frame.

    Raises:
        UserError: a number or the image is missing or wrong.
    """
    height, width = file_io.load_image(image).shape[:2]
    focal = require_number(document, "focal_len", path)
    centre = {key: require_number(document, key, path, positive=False) for key in ("cx", "cy")}
    return {"width": width, "height": height, "fl_x": focal, "fl_y": focal, **centre, "fps": frame_rate(document, path)}


def find_folder(root: Path, folders: Sequence[Tuple[str, bool]], img_id: int) -> Tuple[str, str, bool]:
    """The first of ``folders`` that holds frame ``img_id``, the file suffix used in it, and its flag.

    Raises:
        UserError: none of them is there, or those that are have no such file.
    """
    present: Optional[str] = None
    for folder, flag in folders:
        if not (root / folder).is_dir():
            continue
        present = present or folder
        for suffix in (".jpg", ".png"):
            if (root / folder / f"{img_id}{suffix}").exists():
                return folder, suffix, flag
    if present is not None:
        raise UserError(f"{root / present} has no {img_id}.jpg or {img_id}.png, the first frame; restore the file.")
    wanted = ", ".join(f"{folder}/" for folder, _ in folders)
    raise UserError(f"{root} has none of {wanted}; restore one of these folders.")


def read_landmarks(root: Path, img_ids: Sequence[int]) -> List[Optional[np.ndarray]]:
    """Landmarks ``[points, 2]`` in pixels of each frame from ``ori_imgs/ID.lms``; None where a frame has none.

    Raises:
        UserError: a file holds something else than pairs of numbers.
    """
    folder = root / LANDMARK_FOLDER
    landmarks: List[Optional[np.ndarray]] = []
    for img_id in img_ids:
        path = folder / f"{img_id}.lms"
        if not path.exists():
            landmarks.append(None)
            continue
        try:
            points = np.array(path.read_text(encoding="utf-8").split(), dtype=np.float64).reshape(-1, 2)
        except (ValueError, UnicodeDecodeError):
            raise UserError(
                f"{path} does not hold two numbers x and y per landmark; find the landmarks again or remove the file."
            ) from None
        landmarks.append(points if len(points) and np.isfinite(points).all() else None)
    return landmarks


def read_expressions(
    root: Path, frames: Sequence[ClipFrame], array: np.ndarray, source: Path
) -> Tuple[np.ndarray, Tuple[str, ...], str, Tuple[str, ...]]:
    """The coefficients of the frames in an array whose rows are ``img_id``, named by the ``expr_names.json`` beside it.

    Args:
        root: the dataset directory.
        frames: of the clip.
        array: what was read from ``source``.
        source: the file, which ``expr_names.json`` is about where it is ``expr.npy``.

    Returns:
        float32 ``[frames, basis]``, their names, the basis id, and notes on what was left out.

    Raises:
        UserError: the coefficients, their names or their range files are wrong.
    """
    found, _ = check_expressions(array, source, [frame.img_id for frame in frames])
    given, basis_id = read_names(root) if source.name == contract.EXPRESSIONS else (None, "")
    poses = np.stack([frame.camera_to_head for frame in frames])
    expressions, names, dropped, notes = tidy_expressions(found, poses, source, given)
    check_range_files(root, names, dropped)
    return expressions, names, basis_of_size(len(names)) if given is None else basis_id, notes


def tidy_expressions(
    expressions: np.ndarray, camera_to_head: np.ndarray, path: Path, names: Optional[Sequence[str]] = None
) -> Tuple[np.ndarray, Tuple[str, ...], int, Tuple[str, ...]]:
    """Take out what is no expression: a leading neutral 1, and three trailing angles of the head's pose.

    The unofficial repository appends the rotation's y, x and z angles to the coefficients; a head that takes them for
    expressions changes its shape with its pose.

    Args:
        expressions: ``[frames, columns]``.
        camera_to_head: ``[frames, 4, 4]``.
        path: where they were read, for notes.
        names: of the coefficients, or of all columns; None makes names up.

    Returns:
        float32 ``[frames, basis]``; the coefficients' names; how many trailing columns are left out; notes.

    Raises:
        UserError: there are more or fewer names than coefficients.
    """
    notes: List[str] = []
    columns = expressions.shape[1]
    if has_neutral_column(expressions):
        expressions = expressions[:, 1:]
        names = names[1:] if names is not None and len(names) == columns else names
        notes.append(f"{path}: the leading neutral coefficient, always 1, is left out; the model adds its own.")
    dropped = 0
    if follows_pose(expressions, camera_to_head):
        expressions, dropped = expressions[:, :-3], 3
        notes.append(f"{path}: the last three columns are the head's pose angles, no expression, and are left out.")
    count = expressions.shape[1]
    if names is not None and len(names) not in (count, count + dropped):
        raise UserError(
            f"{path.parent / contract.EXPRESSION_NAMES} has {len(names)} names but {path} has {count} coefficients; "
            "write one name for each."
        )
    chosen = unnamed(count) if names is None else tuple(names[:count])
    return np.ascontiguousarray(expressions), chosen, dropped, tuple(notes)


def follows_pose(expressions: np.ndarray, camera_to_head: np.ndarray) -> bool:
    """Whether the last three columns are the three angles of the head's rotation, in any order, sign and unit.

    Args:
        expressions: ``[frames, columns]``.
        camera_to_head: ``[frames, 4, 4]``.
    """
    if expressions.shape[1] < 4 or len(expressions) < 3:
        return False
    columns = expressions[:, -3:].astype(np.float64).T
    rotations = camera_to_head[:, :3, :3]
    for rotation in (rotations, rotations.transpose(0, 2, 1)):
        angles = _euler_angles(rotation)
        if any(all(map(_is_angle, columns, order)) for order in permutations(angles)):
            return True
    return False


def _euler_angles(rotation: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Angles ``[frames]`` about x, y and z of ``R = Rz Ry Rx``, radians without jumps of a full turn."""
    across = np.hypot(rotation[:, 0, 0], rotation[:, 1, 0])
    x = np.arctan2(rotation[:, 2, 1], rotation[:, 2, 2])
    y = np.arctan2(-rotation[:, 2, 0], across)
    z = np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])
    return np.unwrap(x), np.unwrap(y), np.unwrap(z)


def _is_angle(column: np.ndarray, angle: np.ndarray) -> bool:
    for unit in (1.0, 180.0 / np.pi):
        if np.abs(np.abs(column) - np.abs(angle * unit)).max() < 0.01 * unit:
            return True
    if angle.std() < np.radians(STILL_DEGREES) or column.std() == 0:
        return False
    return bool(abs(np.corrcoef(np.unwrap(column), angle)[0, 1]) >= POSE_ANGLE_CORRELATION)


def _rects(points: Optional[np.ndarray]) -> Tuple[Optional[Rect], Optional[Rect], Tuple[Rect, ...]]:
    """Rectangles of face, mouth and eyes from MediaPipe's landmarks or the 68 of Multi-PIE; of others the face's."""
    if points is None:
        return None, None, ()
    if len(points) in MEDIAPIPE_POINTS:
        face, mouth = points[:MESH_POINTS], points[list(contract.LIP_LANDMARKS)]
        eyes = [points[list(contract.LEFT_EYE_LANDMARKS)], points[list(contract.RIGHT_EYE_LANDMARKS)]]
    elif len(points) == 68:
        face, mouth, eyes = points, points[_LIPS_68], [points[_LEFT_EYE_68], points[_RIGHT_EYE_68]]
    else:
        return _rect(points, 0.0), None, ()
    found = tuple(rect for rect in (_rect(eye, 0.3) for eye in eyes) if rect is not None)
    return _rect(face, 0.0), _rect(mouth, 0.15), found


def _rect(points: np.ndarray, margin: float) -> Optional[Rect]:
    x, y, width, height = landmark_rect(points, margin)
    return (float(x), float(y), float(width), float(height)) if width > 0 and height > 0 else None


def _stack_mediapipe(landmarks: Sequence[Optional[np.ndarray]]) -> Optional[np.ndarray]:
    """``[frames, 468 or 478, 2]`` float32, NaN in frames without landmarks; None where they are not MediaPipe's."""
    sizes = {len(points) for points in landmarks if points is not None}
    if len(sizes) != 1 or not sizes <= set(MEDIAPIPE_POINTS):
        return None
    missing = np.full((sizes.pop(), 2), np.nan)
    return np.stack([missing if points is None else points for points in landmarks]).astype(np.float32)
