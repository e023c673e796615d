"""Curves of the report: head pose, fit, expressions, masks and the background's motion over the clip."""

from __future__ import annotations

import io
from typing import Any, Dict, Optional, Sequence

import numpy as np

# Coefficients drawn as curves; all of them are in the map below the curves.
NUM_CURVES = 8
COLOURS = ("#1b6ca8", "#c8553d", "#3c8d53")


def pose_curves(poses: Dict[str, np.ndarray], fps: float, pose: Dict[str, Any]) -> bytes:
    """Angles, translation and fit over time, as PNG; each frame alone thin, the final track thick.

    Args:
        poses: ``head_poses.npz``.
        fps: frames per second.
        pose: section ``pose`` of ``process.json``.
    """
    figure, axes = _figure(3, height=6.6)
    seconds = np.arange(len(poses["angles"])) / fps
    for name, column, colour in zip(("yaw", "pitch", "roll"), range(3), COLOURS):
        axes[0].plot(seconds, poses["angles_raw"][:, column], color=colour, alpha=0.35, linewidth=0.7)
        axes[0].plot(seconds, poses["angles"][:, column], color=colour, label=name)
    axes[0].set_ylabel("degrees")
    centre = np.median(poses["translation"], axis=0)
    for name, column, colour in zip(("x", "y", "depth"), range(3), COLOURS):
        raw = poses["translation_raw"][:, column] - centre[column]
        axes[1].plot(seconds, raw, color=colour, alpha=0.35, linewidth=0.7)
        axes[1].plot(seconds, poses["translation"][:, column] - centre[column], color=colour, label=name)
    axes[1].set_ylabel("cm from the median")
    errors = np.asarray(pose["reprojection_px"])
    axes[2].plot(seconds, errors, color="#444444", label="rigid landmarks, rms of the frame")
    axes[2].axhline(2.5, color="#c8553d", linewidth=0.8, linestyle=":", label="a good clip stays below this")
    bad = pose["bad_frames"]
    if bad:
        axes[2].plot(seconds[bad], errors[bad], "x", color="#c8553d", label="landmarks not believed")
    axes[2].set_ylabel("px of 512")
    axes[2].set_ylim(bottom=0)
    return _finish(figure, axes)


def expression_curves(values: np.ndarray, names: Sequence[str], fps: float) -> bytes:
    """The coefficients that move most as curves, and all of them as a map, as PNG."""
    figure, axes = _figure(2, height=8.4, ratios=(1, 1.8))
    seconds = np.arange(len(values)) / fps
    for column in np.argsort(-values.std(0))[:NUM_CURVES]:
        axes[0].plot(seconds, values[:, column], label=names[column])
    axes[0].set_ylabel("coefficient")
    axes[0].margins(x=0)
    axes[0].legend(ncol=4, fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(0, 1.28))
    largest = max(float(np.abs(values).max()), 1e-6)
    signed = values.min() < 0
    axes[1].imshow(
        values.T,
        aspect="auto",
        interpolation="nearest",
        cmap="RdBu_r" if signed else "magma",
        vmin=-largest if signed else 0,
        vmax=largest,
        extent=(0.0, len(values) / fps, len(names) - 0.5, -0.5),
    )
    axes[1].set_yticks(range(len(names)), names, fontsize=5.5)
    axes[1].set_xlabel("seconds")
    return _png(figure)


def mask_curves(masks: Dict[str, Any], fps: float) -> bytes:
    """How much the head's outline flickers and how large the labels are, as PNG; ``masks`` of ``process.json``."""
    change, areas = masks["head_change"], masks["areas_by_frame"]
    figure, axes = _figure(2, height=4.4)
    seconds = np.arange(len(change)) / fps
    axes[0].plot(seconds, 100 * np.asarray(change), color="#444444", label="head that differs with motion undone")
    axes[0].axhline(2, color="#c8553d", linewidth=0.8, linestyle=":", label="steady below this")
    axes[0].set_ylabel("% of the head")
    axes[0].set_ylim(bottom=0)
    for name, colour in zip(("head", "neck", "torso"), ("#e08a1e", "#3c8d53", "#1b6ca8")):
        axes[1].plot(seconds, 100 * np.asarray(areas[name]), color=colour, label=name)
    axes[1].set_ylabel("% of the image")
    axes[1].set_ylim(bottom=0)
    return _finish(figure, axes)


def camera_curves(camera: Dict[str, Any], fps: float) -> Optional[bytes]:
    """How far the background has moved since the first frame, as PNG; None where it could not be tracked."""
    known = [(frame, shift) for frame, shift in zip(camera["frames"], camera["shift_px"]) if shift is not None]
    if len(known) < 2:
        return None
    figure, axes = _figure(1, height=2.4)
    seconds = np.array([frame for frame, _ in known]) / fps
    for name, column, colour in zip(("right", "down"), range(2), COLOURS):
        axes[0].plot(seconds, [shift[column] for _, shift in known], color=colour, label=name)
    axes[0].set_ylabel("px of 512")
    low, high = axes[0].get_ylim()
    # A still background is a straight line, not a magnified tremble.
    axes[0].set_ylim(min(low, -3), max(high, 3))
    return _finish(figure, axes)


def _figure(rows: int, height: float, ratios: Any = None) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(
        rows, 1, squeeze=False, gridspec_kw={"height_ratios": ratios} if ratios else None, sharex=ratios is None
    )
    return figure, axes[:, 0]


def _finish(figure: Any, axes: Any) -> bytes:
    for axis in axes:
        axis.grid(alpha=0.25)
        axis.legend(frameon=False, fontsize=8, ncol=3, loc="upper right")
        axis.margins(x=0)
    axes[-1].set_xlabel("seconds")
    return _png(figure)


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
