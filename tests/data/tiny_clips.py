"""Tiny clips: a ball for a head, seen by a camera that swings round it, in each dataset layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, NamedTuple, Tuple

import cv2
import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.contract import Label

RADIUS = 10.0
CENTRE = np.array([0.5, 1.0, -2.0])
SIZE = 96
FOCAL = 150.0
# Full colour resolution, so that the hard edges of these pictures stay hard.
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 100, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
HEAD_COLOUR, NECK_COLOUR, TORSO_COLOUR, BACKGROUND_COLOUR = (200, 120, 80), (180, 140, 110), (20, 40, 160), (30, 60, 90)


class TinyClip(NamedTuple):
    """Ground truth of a tiny clip."""

    poses: np.ndarray
    """``[frames, 4, 4]`` camera-to-head."""
    labels: np.ndarray
    """``[frames, size, size]``."""
    images: np.ndarray
    """``[frames, size, size, 3]`` RGB."""
    expressions: np.ndarray
    """``[frames, 6]``; coefficient 4 is constant, 5 hardly moves."""
    face_rect: Tuple[int, int, int, int]
    lip_rect: Tuple[int, int, int, int]


def ball_clip(num_frames: int, size: int = SIZE) -> TinyClip:
    """A ball of radius 10 at (0.5, 1, -2), its lower part of the picture neck and torso, yaw ±20°."""
    poses = np.tile(np.eye(4), (num_frames, 1, 1))
    for frame, yaw in enumerate(np.radians(np.linspace(-20, 20, num_frames))):
        poses[frame, :3, :3] = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
        poses[frame, :3, 3] = CENTRE + poses[frame, :3, :3] @ [0.0, 0.0, 60.0]
    focal = FOCAL * size / SIZE
    y, x = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5, indexing="ij")
    directions = np.stack([(x - size / 2) / focal, -(y - size / 2) / focal, -np.ones_like(x)], -1)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    labels = np.zeros((num_frames, size, size), np.uint8)
    for frame in range(num_frames):
        rays = directions @ poses[frame, :3, :3].T
        to_centre = CENTRE - poses[frame, :3, 3]
        along = rays @ to_centre
        miss = np.linalg.norm(to_centre - along[..., None] * rays, axis=-1)
        labels[frame, int(0.9 * size) :] = Label.TORSO
        labels[frame, int(0.75 * size) : int(0.9 * size), int(0.4 * size) : int(0.6 * size)] = Label.NECK
        labels[frame][miss < RADIUS] = Label.HEAD
    colours = np.array([BACKGROUND_COLOUR, HEAD_COLOUR, NECK_COLOUR, TORSO_COLOUR], np.uint8)
    random = np.random.default_rng(0)
    expressions = random.uniform(0, 1, (num_frames, 6)).astype(np.float32)
    expressions[:, 4] = 0.25
    expressions[:, 5] = 0.001 * expressions[:, 5]
    unit = size / SIZE
    face = tuple(int(value * unit) for value in (33, 30, 30, 36))
    lips = tuple(int(value * unit) for value in (42, 54, 12, 8))
    return TinyClip(poses, labels, colours[labels], expressions, face, lips)


def write_own(root: Path, num_frames: int = 20, size: int = SIZE, mesh: bool = False) -> TinyClip:
    """Write a tiny clip in this project's own layout."""
    clip = ball_clip(num_frames, size)
    (root / "images").mkdir(parents=True)
    frames = []
    for frame in range(num_frames):
        cv2.imwrite(str(root / "images" / contract.image_name(frame)), clip.images[frame][..., ::-1], JPEG)
        file_io.save_image(root / "parsing" / contract.parsing_name(frame), clip.labels[frame])
        x, y, width, height = clip.face_rect
        frames.append(
            {
                "file_path": f"images/{contract.image_name(frame)}",
                "img_id": frame,
                "transform_matrix": clip.poses[frame].tolist(),
                "face_rect": list(clip.face_rect),
                "lip_rect": list(clip.lip_rect),
                "eye_rects": [[x + 3, y + 8, 8, 5], [x + width - 11, y + 8, 8, 5]],
            }
        )
    focal = FOCAL * size / SIZE
    contract.save_transforms(
        root, width=size, height=size, fl_x=focal, fl_y=focal, cx=size / 2, cy=size / 2, fps=25.0, frames=frames
    )
    names = ["jawOpen", "mouthPucker", "mouthSmileLeft", "eyeBlinkLeft", "_neutral", "cheekPuff"]
    contract.save_expressions(root, clip.expressions, names, "custom")
    if mesh:
        angle = np.linspace(0, 2 * np.pi, 468, endpoint=False)
        points = np.stack([7 * np.cos(angle), 9 * np.sin(angle), 3 + np.cos(3 * angle)], -1) + [0.5, 0.0, 0.0]
        file_io.save_array(root / contract.FACE_MESH, points.astype(np.float32))
    return clip


LABEL_BGR = {
    Label.BACKGROUND: (255, 255, 255),
    Label.HEAD: (255, 0, 0),
    Label.NECK: (0, 255, 0),
    Label.TORSO: (0, 0, 255),
}


def write_unofficial(root: Path, num_frames: int = 20, folders: Tuple[str, ...] = ("ori_imgs", "parsing")) -> TinyClip:
    """Write a tiny clip in the unofficial repository's layout; numbers start at 3 and frame 8 is missing."""
    clip = ball_clip(num_frames)
    numbers = [number for number in range(3, num_frames + 4) if number != 8][:num_frames]
    for folder in folders:
        (root / folder).mkdir(parents=True)
    frames = []
    for frame, number in enumerate(numbers):
        frames.append(
            {
                "img_id": number,
                "aud_id": number,
                "transform_matrix": clip.poses[frame].tolist(),
                "face_rect": list(clip.face_rect),
                "lip_rect": list(clip.lip_rect),
            }
        )
        head = clip.labels[frame] == Label.HEAD
        code = np.zeros((*head.shape, 3), np.uint8)
        for label, colour in LABEL_BGR.items():
            code[clip.labels[frame] == label] = colour
        pictures: Dict[str, Tuple[str, np.ndarray]] = {
            "ori_imgs": (".jpg", clip.images[frame][..., ::-1]),
            "head_imgs": (".jpg", np.where(head[..., None], clip.images[frame][..., ::-1], 255)),
            "parsing": (".png", code),
            "head_masks": (".png", head.astype(np.uint8) * 255),
        }
        for folder in folders:
            suffix, picture = pictures[folder]
            cv2.imwrite(str(root / folder / f"{number}{suffix}"), picture, JPEG)
    cv2.imwrite(str(root / "bc.jpg"), np.full((SIZE, SIZE, 3), 90, np.uint8))
    document = {"focal_len": FOCAL, "cx": SIZE / 2, "cy": SIZE / 2, "frames": frames[::-1]}
    (root / "transforms_all.json").write_text(json.dumps(document))
    expressions = np.full((numbers[-1] + 1, 6), 9.0, np.float32)
    expressions[numbers] = clip.expressions
    np.save(root / "expr.npy", expressions)
    np.save(root / "expr_min.npy", np.concatenate([[1.0], clip.expressions.min(0)]).astype(np.float32))
    np.save(root / "expr_max.npy", np.concatenate([[1.0], clip.expressions.max(0)]).astype(np.float32))
    return clip
