"""Pictures of the report: a contact sheet with landmarks and labels, pose curves, coefficient curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Sequence

import cv2
import numpy as np

from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.process_data.canonical_face import NUM_MESH_LANDMARKS, RIGID_LANDMARKS

CONTACT_FRAMES = 12
CONTACT_COLUMNS = 4
TILE = 320
LABEL_COLOURS = {Label.HEAD: (255, 170, 60), Label.NECK: (80, 200, 120), Label.TORSO: (80, 130, 255)}
LANDMARK_COLOUR, RIGID_COLOUR, MESH_COLOUR = (255, 255, 255), (255, 40, 120), (40, 230, 255)
# Coefficients drawn as curves; all of them are in the map below the curves.
NUM_CURVES = 8


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
    scale = TILE / max(image.shape[:2])
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    tile = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    small = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    for label, colour in LABEL_COLOURS.items():
        inside = small == label
        tile[inside] = (0.75 * tile[inside] + 0.25 * np.array(colour)).astype(np.uint8)
        outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(tile, outlines, -1, colour, 1)
    for index, (x, y) in enumerate(landmarks[:NUM_MESH_LANDMARKS] * scale):
        colour = RIGID_COLOUR if index in _RIGID_SET else LANDMARK_COLOUR
        cv2.circle(tile, (round(float(x)), round(float(y))), 1 if index in _RIGID_SET else 0, colour, -1)
    for x, y in projected * scale:
        cv2.drawMarker(tile, (round(float(x)), round(float(y))), MESH_COLOUR, cv2.MARKER_CROSS, 5, 1)
    return tile


_RIGID_SET = frozenset(RIGID_LANDMARKS.tolist())


def contact_sheet(root: Path, landmarks: np.ndarray, projected: np.ndarray) -> np.ndarray:
    """Tiles of frames spread over the clip, each with its number, as one uint8 RGB image."""
    picks = np.unique(np.linspace(0, len(landmarks) - 1, min(CONTACT_FRAMES, len(landmarks))).round().astype(int))
    tiles: List[np.ndarray] = []
    for index in (int(pick) for pick in picks):
        image = contract.load_image(root / contract.IMAGES / contract.image_name(index))
        labels = contract.load_image(root / contract.PARSING / contract.parsing_name(index), cv2.IMREAD_UNCHANGED)
        tile = draw_frame(image, labels, landmarks[index], projected[index])
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(tile, f"{index}", (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, thickness, cv2.LINE_AA)
        tiles.append(tile)
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % CONTACT_COLUMNS)
    rows = [np.hstack(tiles[start : start + CONTACT_COLUMNS]) for start in range(0, len(tiles), CONTACT_COLUMNS)]
    return np.vstack(rows)


def plate_and_mean(root: Path, num_frames: int) -> np.ndarray:
    """The clean plate beside the first and the last frame with the background removed."""
    tiles = [contract.load_image(root / contract.BACKGROUND)]
    for index in (0, num_frames - 1):
        image = contract.load_image(root / contract.IMAGES / contract.image_name(index))
        labels = contract.load_image(root / contract.PARSING / contract.parsing_name(index), cv2.IMREAD_UNCHANGED)
        tiles.append(np.where((labels == Label.HEAD)[..., None], image, np.uint8(255)))
    scale = TILE / max(tiles[0].shape[:2])
    return np.hstack([cv2.resize(tile, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for tile in tiles])


def pose_curves(path: Path, poses: Dict[str, np.ndarray], fps: float) -> None:
    """Angles, translation and reprojection error over time; each frame alone thin, the final track thick."""
    figure, axes = _figure(3, height=6.6)
    seconds = np.arange(len(poses["angles"])) / fps
    for name, column, colour in zip(("yaw", "pitch", "roll"), range(3), ("#1b6ca8", "#c8553d", "#3c8d53")):
        axes[0].plot(seconds, poses["angles_raw"][:, column], color=colour, alpha=0.35, linewidth=0.7)
        axes[0].plot(seconds, poses["angles"][:, column], color=colour, label=name)
    axes[0].set_ylabel("degrees")
    centre = np.median(poses["translation"], axis=0)
    for name, column, colour in zip(("x", "y", "depth"), range(3), ("#1b6ca8", "#c8553d", "#3c8d53")):
        axes[1].plot(
            seconds, poses["translation_raw"][:, column] - centre[column], color=colour, alpha=0.35, linewidth=0.7
        )
        axes[1].plot(seconds, poses["translation"][:, column] - centre[column], color=colour, label=name)
    axes[1].set_ylabel("cm from the median")
    axes[2].plot(seconds, poses["frame_errors"], color="#444444", label="rigid landmarks, rms a frame")
    axes[2].set_ylabel("pixels")
    axes[2].set_ylim(bottom=0)
    _finish(figure, axes, path)


def expression_curves(path: Path, values: np.ndarray, names: Sequence[str], fps: float) -> None:
    """The coefficients that move most as curves, and all of them as a map."""
    figure, axes = _figure(2, height=8.4, ratios=(1, 1.8))
    seconds = np.arange(len(values)) / fps
    for column in np.argsort(-values.std(0))[:NUM_CURVES]:
        axes[0].plot(seconds, values[:, column], label=names[column])
    axes[0].set_ylabel("coefficient")
    axes[0].legend(ncol=4, fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(0, 1.28))
    reach = max(float(np.abs(values).max()), 1e-6)
    signed = values.min() < 0
    axes[1].imshow(
        values.T,
        aspect="auto",
        interpolation="nearest",
        cmap="RdBu_r" if signed else "magma",
        vmin=-reach if signed else 0,
        vmax=reach,
        extent=(0.0, float(seconds[-1]), len(names) - 0.5, -0.5),
    )
    axes[1].set_yticks(range(len(names)), names, fontsize=5.5)
    axes[1].set_xlabel("seconds")
    _save(figure, path)


def _figure(rows: int, height: float, ratios: Any = None) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 1, gridspec_kw={"height_ratios": ratios} if ratios else None, sharex=ratios is None)
    return figure, axes


def _finish(figure: Any, axes: Any, path: Path) -> None:
    for axis in axes:
        axis.grid(alpha=0.25)
        axis.legend(frameon=False, fontsize=8, ncol=3, loc="upper right")
        axis.margins(x=0)
    axes[-1].set_xlabel("seconds")
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    contract.write_atomically(path, lambda temporary: figure.savefig(temporary))
