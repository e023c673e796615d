"""The tiny clip written in the layouts of other projects, each as its own scripts write it."""

from __future__ import annotations

import json
import random as python_random
from pathlib import Path
from typing import Any, Dict, List, Tuple

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation
from tiny_clips import FOCAL, JPEG, LABEL_BGR, SIZE, TinyClip, ball_clip

from nerfblendshape_ns.data.contract import Label

FACE_RECT, LIP_RECT = (33, 30, 30, 36), (42, 54, 12, 8)


def turning_clip(num_frames: int) -> TinyClip:
    """The tiny clip with heads that also nod and tilt, so that all three angles of a pose move."""
    clip = ball_clip(num_frames)
    time = np.linspace(0, 5, num_frames)
    nod = Rotation.from_euler("xz", np.stack([8 * np.sin(2.1 * time), 6 * np.sin(3.3 * time + 1)], 1), degrees=True)
    poses = clip.poses.copy()
    # About the camera, so that the ball stays nearly where the pictures show it.
    poses[:, :3, :3] = poses[:, :3, :3] @ nod.as_matrix()
    return clip._replace(poses=poses)


def gap_numbers(num_frames: int) -> List[int]:
    """Frame numbers that start at 3 and leave 8 out."""
    return [number for number in range(3, num_frames + 4) if number != 8][:num_frames]


def pose_angles(poses: np.ndarray) -> np.ndarray:
    """What the unofficial repository appends to the coefficients: rotation about y, x and z in radians."""
    rows = []
    for pose in poses:
        rotation = pose[:3, :3]
        across = np.sqrt(rotation[0, 0] ** 2 + rotation[1, 0] ** 2)
        x = np.arctan2(rotation[2, 1], rotation[2, 2])
        y = np.arctan2(-rotation[2, 0], across)
        z = np.arctan2(rotation[1, 0], rotation[0, 0])
        rows.append([y, x, z])
    return np.array(rows, np.float32)


def write_numbered(root: Path, clip: TinyClip, numbers: List[int], folders: Tuple[str, ...], landmarks: int) -> None:
    """The folders that the AD-NeRF family shares."""
    for folder in folders:
        (root / folder).mkdir(parents=True)
    for frame, number in enumerate(numbers):
        image = clip.images[frame][..., ::-1]
        labels = clip.labels[frame]
        code = np.zeros((*labels.shape, 3), np.uint8)
        for label, colour in LABEL_BGR.items():
            code[labels == label] = colour
        head = labels == Label.HEAD
        body = (labels == Label.NECK) | (labels == Label.TORSO)
        pictures: Dict[str, Tuple[str, np.ndarray]] = {
            "ori_imgs": (".jpg", image),
            "gt_imgs": (".jpg", np.where((labels == 0)[..., None], 90, image)),
            "head_imgs": (".jpg", np.where(head[..., None], image, 90)),
            "torso_imgs": (".png", np.concatenate([image * body[..., None], 255 * body[..., None]], -1)),
            "parsing": (".png", code),
            "head_masks": (".png", head.astype(np.uint8) * 255),
        }
        for folder in folders:
            suffix, picture = pictures[folder]
            cv2.imwrite(str(root / folder / f"{number}{suffix}"), picture.astype(np.uint8), JPEG)
        if landmarks:
            np.savetxt(root / "ori_imgs" / f"{number}.lms", landmark_points(landmarks), "%f")
    cv2.imwrite(str(root / "bc.jpg"), np.full((SIZE, SIZE, 3), 90, np.uint8))


def landmark_points(count: int) -> np.ndarray:
    """68 or 478 landmarks, x before y: the face within x 33..63 and y 30..66, the lips within x 42..54 and y 54..62."""
    points = np.zeros((count, 2))
    points[:] = [48.0, 48.0]
    points[0], points[1] = [33.0, 30.0], [63.0, 66.0]
    if count == 68:
        points[48:68] = np.stack([np.linspace(42, 54, 20), np.tile([54.0, 62.0], 10)], 1)
        points[36:42] = np.stack([np.linspace(37, 44, 6), np.tile([38.0, 42.0], 3)], 1)
        points[42:48] = np.stack([np.linspace(52, 59, 6), np.tile([38.0, 42.0], 3)], 1)
    return points


def write_radnerf(root: Path, num_frames: int = 22, tracked: bool = False) -> TinyClip:
    """RAD-NeRF: two transforms files without rectangles, 68 landmarks, no coefficients but the tracker's."""
    clip = turning_clip(num_frames)
    numbers = gap_numbers(num_frames)
    write_numbered(root, clip, numbers, ("ori_imgs", "gt_imgs", "torso_imgs", "parsing"), 68)
    entries = [
        {"img_id": number, "aud_id": number, "transform_matrix": clip.poses[frame].tolist()}
        for frame, number in enumerate(numbers)
    ]
    split = num_frames * 10 // 11
    for name, part in (("train", entries[:split]), ("val", entries[split:])):
        document = {"focal_len": FOCAL, "cx": SIZE / 2, "cy": SIZE / 2, "frames": part}
        (root / f"transforms_{name}.json").write_text(json.dumps(document))
    rows = np.zeros((numbers[-1] + 1, 79 if tracked else 6), np.float32)
    if tracked:
        random = np.random.default_rng(1)
        clip = clip._replace(expressions=random.normal(0, 1, (num_frames, 79)).astype(np.float32))
    rows[numbers] = clip.expressions
    if tracked:
        track = {"id": torch.zeros(1, 100), "exp": torch.from_numpy(rows), "focal": torch.tensor([FOCAL])}
        torch.save(track, root / "track_params.pt")
    else:
        np.save(root / "expr.npy", rows)
    return clip


def write_nerface(root: Path, num_frames: int = 20, mirrored: bool = False, masks: bool = True) -> TinyClip:
    """NeRFace: three transforms files whose frames are each numbered from 0, PNG images, masks that the user has added.

    Args:
        root: where it is written.
        num_frames: of all parts.
        mirrored: with a negative focal length x; the camera-to-world matrices are then those of the mirrored head.
        masks: whether there are any.
    """
    clip = turning_clip(num_frames)
    clip = clip._replace(expressions=np.random.default_rng(1).normal(0, 1, (num_frames, 76)).astype(np.float32))
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    poses = mirror @ clip.poses @ mirror if mirrored else clip.poses
    x, y, width, height = FACE_RECT
    bounds = {
        "train": (0, num_frames - 5),
        "val": (num_frames - 5, num_frames - 3),
        "test": (num_frames - 3, num_frames),
    }
    for part, (first, last) in bounds.items():
        frames = []
        for number, frame in enumerate(range(first, last)):
            name = f"f_{number:04d}"
            for folder in (root / part, *([root / "head_masks" / part] if masks else [])):
                folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / part / f"{name}.png"), clip.images[frame][..., ::-1])
            if masks:
                mask = (clip.labels[frame] == Label.HEAD).astype(np.uint8) * 255
                cv2.imwrite(str(root / "head_masks" / part / f"{name}.png"), mask)
            frames.append(
                {
                    "file_path": f"./{part}/{name}",
                    "transform_matrix": poses[frame].tolist(),
                    "expression": clip.expressions[frame].tolist(),
                    "bbox": [y / SIZE, (y + height) / SIZE, x / SIZE, (x + width) / SIZE],
                }
            )
        intrinsics = [-FOCAL if mirrored else FOCAL, FOCAL, 0.5, 0.5]
        document = {"camera_angle_x": 2 * np.arctan(SIZE / 2 / FOCAL), "intrinsics": intrinsics, "frames": frames}
        (root / f"transforms_{part}.json").write_text(json.dumps(document))
    return clip


def write_unofficial_with_traps(root: Path, num_frames: int = 20) -> TinyClip:
    """The unofficial layout with all its traps: a leading 1 in ``expr.npy``, three pose angles at its end, gaps."""
    clip = turning_clip(num_frames)
    numbers = gap_numbers(num_frames)
    write_numbered(root, clip, numbers, ("ori_imgs", "gt_imgs", "torso_imgs", "parsing", "head_masks"), 68)
    entries = [
        {
            "img_id": number,
            "aud_id": number,
            "transform_matrix": clip.poses[frame].tolist(),
            "trans": [0.0, 0.0, -60.0],
            "face_rect": list(FACE_RECT),
            "lip_rect": list(LIP_RECT),
        }
        for frame, number in enumerate(numbers)
    ]
    document = {"focal_len": FOCAL, "cx": SIZE / 2, "cy": SIZE / 2, "frames": entries[::-1]}
    (root / "transforms_all.json").write_text(json.dumps(document))
    table = np.concatenate([np.ones((num_frames, 1)), clip.expressions, pose_angles(clip.poses)], 1).astype(np.float32)
    rows = np.full((numbers[-1] + 1, table.shape[1]), 9.0, np.float32)
    rows[numbers] = table
    np.save(root / "expr.npy", rows)
    np.save(root / "expr_min.npy", table.min(0))
    np.save(root / "expr_max.npy", table.max(0))
    return clip


def write_official(root: Path, num_frames: int = 20, leading_one: bool = False) -> TinyClip:
    """NeRFBlendShape-code: coefficients inside ``transforms.json``, ranges as text, 478 landmarks."""
    clip = turning_clip(num_frames)
    random = np.random.default_rng(2)
    clip = clip._replace(expressions=random.uniform(0, 1, (num_frames, 46)).astype(np.float32))
    numbers = gap_numbers(num_frames)
    write_numbered(root, clip, numbers, ("ori_imgs", "head_imgs", "parsing"), 478)
    frames: List[Dict[str, Any]] = []
    for frame, number in enumerate(numbers):
        coefficients = [float(value) for value in clip.expressions[frame]]
        frames.append(
            {
                "img_id": number,
                "transform_matrix": clip.poses[frame].tolist(),
                "exp_ori": [1.0, *coefficients] if leading_one else coefficients,
            }
        )
    document = {"h": SIZE, "w": SIZE, "fx": FOCAL, "fy": FOCAL + 1, "cx": SIZE / 2, "cy": SIZE / 2 + 1}
    (root / "transforms.json").write_text(json.dumps({**document, "frames": frames[::-1]}))
    np.savetxt(root / "max_46.txt", clip.expressions.max(0))
    np.savetxt(root / "min_46.txt", clip.expressions.min(0))
    return clip


FACE_PARSING = {Label.BACKGROUND: 0, Label.HEAD: 250, Label.NECK: 110, Label.TORSO: 90}


def write_insta(root: Path, num_frames: int = 20, jaw: bool = True) -> TinyClip:
    """INSTA: RGBA images, OpenCV cameras in metres, FLAME text files, frames in no order, overlapping parts."""
    clip = turning_clip(num_frames)
    random = np.random.default_rng(3)
    flame = random.normal(0, 0.8, (num_frames, 100))
    angle = np.abs(np.sin(np.linspace(0, 9, num_frames))) * 0.3
    jaws = np.stack([np.ones_like(angle), 0 * angle, 0 * angle, 0 * angle, np.cos(angle), -np.sin(angle)], 1)
    for folder in ("images", "seg_mask", "flame/exp", *(("flame/jaw",) if jaw else ())):
        (root / folder).mkdir(parents=True)
    frames = []
    poses = clip.poses.copy()
    # Metres about the origin of FLAME's head space.
    poses[:, :3, 3] = 0.01 * (poses[:, :3, 3] - [0.5, 1.0, -2.0])
    for frame in range(num_frames):
        name = f"{frame + 1:05d}"
        labels = clip.labels[frame]
        alpha = np.where((labels == Label.HEAD) | (labels == Label.NECK), 255, 0).astype(np.uint8)
        picture = np.dstack([clip.images[frame][..., ::-1] * (alpha > 0)[..., None], alpha])
        cv2.imwrite(str(root / "images" / f"{name}.png"), picture)
        mask = np.zeros((*labels.shape, 3), np.uint8)
        for label, value in FACE_PARSING.items():
            mask[labels == label, 2] = value
        # The parser calls part of the head hair and misses a strip of it, which the matte still shows.
        top = np.arange(labels.shape[0])[:, None] < 30
        mask[(labels == Label.HEAD) & top, 2] = 80
        mask[(labels == Label.HEAD) & (np.arange(labels.shape[0]) == 34)[:, None], 2] = 0
        cv2.imwrite(str(root / "seg_mask" / f"{name}.png"), mask)
        np.savetxt(root / "flame/exp" / f"{name}.txt", flame[frame], fmt="%.8f")
        if jaw:
            np.savetxt(root / "flame/jaw" / f"{name}.txt", jaws[frame], fmt="%.8f")
        opencv = poses[frame] @ np.diag([1.0, -1.0, -1.0, 1.0])
        frames.append(
            {
                "transform_matrix": opencv.tolist(),
                "file_path": f"images/{name}.png",
                "mesh_path": f"meshes/{name}.obj",
                "exp_path": f"flame/exp/{name}.txt",
                "depth_path": f"depth/{name}.png",
                "seg_mask_path": f"seg_mask/{name}.png",
            }
        )
    python_random.Random(0).shuffle(frames)
    camera = {"w": float(SIZE), "h": float(SIZE), "fl_x": FOCAL, "fl_y": FOCAL, "cx": SIZE / 2, "cy": SIZE / 2}
    camera.update(camera_angle_x=0.6, camera_angle_y=0.6, x_fov=35.0, y_fov=35.0, integer_depth_scale=0.001)
    test = num_frames // 4
    parts = {"": frames, "_train": frames[:-test], "_test": frames[-test:], "_val": frames[-3:]}
    for suffix, part in parts.items():
        document = {**camera, "frames": part}
        (root / f"transforms{suffix}.json").write_text(json.dumps(document, indent=4, sort_keys=True))
    table = np.round(flame, 8)
    if jaw:
        table = np.concatenate([table, np.round(jaws, 8) - [1, 0, 0, 0, 1, 0]], 1)
    return clip._replace(poses=poses, expressions=table.astype(np.float32))


WRITERS = {
    "unofficial": write_unofficial_with_traps,
    "radnerf": write_radnerf,
    "official": write_official,
    "insta": write_insta,
}
