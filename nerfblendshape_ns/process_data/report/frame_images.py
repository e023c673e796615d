"""Images for the report: frames with landmarks and labels drawn in, the worst frames, cut-outs, the clean plate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import cv2
import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.labels import soft_alpha
from nerfblendshape_ns.data.mattes import foreground_colours, head_alpha
from nerfblendshape_ns.process_data.face.canonical_face import RIGID_LANDMARKS
from nerfblendshape_ns.process_data.steps.image_steps import BACKGROUND_SEEN

WORST_FRAMES = 4
# Worst frames are this far apart, so that one bad moment does not fill the row.
WORST_APART = 6
TILE = 320
LABEL_COLOURS = {
    Label.HEAD: (255, 170, 60),
    Label.NECK: (80, 200, 120),
    Label.TORSO: (80, 130, 255),
    Label.OCCLUDED: (230, 60, 230),
}
LANDMARK_COLOUR, RIGID_COLOUR, MESH_COLOUR = (255, 255, 255), (255, 40, 120), (40, 230, 255)
# Behind cut-out heads: no skin or hair has this colour, so every fringe shows.
CUT_OUT_COLOUR = (90, 170, 90)
_RIGID_SET = frozenset(RIGID_LANDMARKS.tolist())


@dataclass(frozen=True)
class Tile:
    """One image of the page."""

    image: np.ndarray
    """uint8 RGB ``[height, width, 3]``."""
    caption: str
    """Line under it."""


def worst_frames(document: Dict[str, Any]) -> Dict[str, Dict[int, str]]:
    """The worst frames by reprojection, by flicker of the head's outline and by noise of the landmarks.

    Args:
        document: ``process.json``.

    Returns:
        By measure the numbers of its worst frames, worst first, and what was measured there, as text.
    """
    pose, masks = document["pose"], document["masks"]
    measures = (
        ("Worst fit of the head pose", pose["reprojection_px"], "{:.1f} px off"),
        ("Outline changes most", masks["head_change"], "{:.1%} of the head"),
        ("Landmarks least certain (they jump most)", pose["jitter_before_frames"], "{:.2f} degrees"),
    )
    return {
        title: {frame: text.format(values[frame]) for frame in pick_worst(np.array(values))}
        for title, values, text in measures
    }


def pick_worst(values: np.ndarray) -> Tuple[int, ...]:
    """Up to :data:`WORST_FRAMES` frames with the largest values, at least :data:`WORST_APART` frames apart."""
    chosen: List[int] = []
    for frame in np.argsort(-values, kind="stable").tolist():
        if all(abs(frame - other) >= WORST_APART for other in chosen):
            chosen.append(frame)
        if len(chosen) == WORST_FRAMES:
            break
    return tuple(chosen)


def frame_tiles(
    root: Path, frames: Sequence[int], captions: Sequence[str], landmarks: np.ndarray, projected: np.ndarray
) -> List[Tile]:
    """Frames with their labels and landmarks drawn in.

    Args:
        root: the dataset directory.
        frames: numbers of the frames.
        captions: a line for each of them.
        landmarks: ``[num_frames, 478, 2]`` pixels.
        projected: ``[num_frames, rigid, 2]`` pixels, the rigid points of the mesh under each frame's pose.
    """
    tiles = []
    for frame, caption in zip(frames, captions):
        image = file_io.load_image(root / contract.IMAGES / contract.image_name(frame))
        tiles.append(Tile(draw_frame(image, _labels(root, frame), landmarks[frame], projected[frame]), caption))
    return tiles


def draw_frame(image: np.ndarray, labels: np.ndarray, landmarks: np.ndarray, projected: np.ndarray) -> np.ndarray:
    """One tile: labels as tint and outline, landmarks as dots, the personalised mesh's rigid points as crosses.

    Args:
        image: uint8 RGB ``[h, w, 3]``.
        labels: uint8 ``[h, w]``.
        landmarks: ``[478, 2]`` pixels.
        projected: ``[rigid, 2]`` pixels, the rigid points of the mesh under the frame's pose.

    Returns:
        uint8 RGB, :data:`TILE` pixels on the longer side.
    """
    tile = _fit(image)
    scale, size = TILE / max(image.shape[:2]), (tile.shape[1], tile.shape[0])
    small = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    for label, colour in LABEL_COLOURS.items():
        inside = small == label
        tile[inside] = (0.75 * tile[inside] + 0.25 * np.array(colour)).astype(np.uint8)
        outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(tile, outlines, -1, colour, 1)
    for index, (x, y) in enumerate(landmarks[: contract.MESH_POINTS] * scale):
        colour = RIGID_COLOUR if index in _RIGID_SET else LANDMARK_COLOUR
        cv2.circle(tile, (round(float(x)), round(float(y))), 1 if index in _RIGID_SET else 0, colour, -1)
    for x, y in projected * scale:
        cv2.drawMarker(tile, (round(float(x)), round(float(y))), MESH_COLOUR, cv2.MARKER_CROSS, 5, 1)
    return tile


def plate_tiles(root: Path, num_frames: int) -> List[Tile]:
    """The clean plate, the part of it that some frame shows, and the head cut out of three frames as for training."""
    plate = file_io.load_image(root / contract.BACKGROUND)
    seen = file_io.load_image(root / BACKGROUND_SEEN, cv2.IMREAD_UNCHANGED) > 0
    rows, columns = np.indices(seen.shape)
    stripes = ((rows + columns) // max(1, max(seen.shape) // 64)) % 2 == 0
    marked = np.where((~seen & stripes)[..., None], np.uint8(255), plate)
    tiles = [Tile(_fit(plate), "clean plate"), Tile(_fit(marked), "striped: never uncovered, filled in")]
    for frame in sorted({0, num_frames // 2, num_frames - 1}):
        tiles.append(Tile(_fit(cut_out(root, frame)), f"head of frame {frame}, cut out"))
    return tiles


def cut_out(root: Path, frame: int) -> np.ndarray:
    """The head of a frame on a plain colour, uint8 RGB."""
    image = file_io.load_image(root / contract.IMAGES / contract.image_name(frame))
    labels, path = _labels(root, frame), root / contract.ALPHA / contract.alpha_name(frame)
    if path.exists():
        matte = file_io.load_image(path, cv2.IMREAD_UNCHANGED)
        image, alpha = foreground_colours(image, matte), head_alpha(labels, matte)
    else:
        alpha = soft_alpha(labels)
    mixed = alpha[..., None] * image + (1 - alpha[..., None]) * np.array(CUT_OUT_COLOUR)
    return np.rint(mixed).astype(np.uint8)


def _labels(root: Path, frame: int) -> np.ndarray:
    return file_io.load_image(root / contract.PARSING / contract.parsing_name(frame), cv2.IMREAD_UNCHANGED)


def _fit(image: np.ndarray) -> np.ndarray:
    scale = TILE / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
