"""Small files of expression coefficients as other programs write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from nerfblendshape_ns.coefficient_names.arkit import ARKIT_NAMES

ANGLES = [f"{part}{angle}" for part in ("Head", "LeftEye", "RightEye") for angle in ("Yaw", "Pitch", "Roll")]


def wave(times: np.ndarray, count: int) -> np.ndarray:
    """Coefficients 0…1 that differ from column to column, ``[times, count]``."""
    return 0.5 + 0.5 * np.sin(2.0 * times[:, None] + 0.1 * np.arange(count))


def write_live_link(
    path: Path, rows: int = 150, rate: int = 60, start: int = 43195, faceless: tuple = (), short: bool = False
) -> np.ndarray:
    """A Live Link Face take; returns ``[rows, 52]`` with four decimals.

    Args:
        start: whole seconds of the day.
        faceless: rows without a face.
        short: whether such rows have two cells, as the app writes them, and not a row of empty ones.
    """
    values = wave(np.arange(rows) / rate, 52).round(4)
    columns = [name[0].upper() + name[1:] for name in ARKIT_NAMES]
    lines = [",".join(["Timecode", "BlendShapeCount", *columns, *ANGLES])]
    for row in range(rows):
        second = (start + row // rate) % 86400
        clock = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}:{row % rate:02d}.207"
        if row in faceless:
            lines.append(f"{clock},0" + ("" if short else "," * 61))
        else:
            cells = [f"{value:.4f}" for value in values[row]] + ["0.3000"] * 9
            lines.append(f"{clock},61," + ",".join(cells))
    path.write_text("\n".join(lines) + "\n")
    return values


def write_face_cap(path: Path, rows: int = 40) -> np.ndarray:
    """A Face Cap recording at uneven times; returns ``[rows, 3]``."""
    times = 1000 / 60 * np.arange(rows) + np.where(np.arange(rows) % 2, 3.0, 0.0)
    values = wave(times / 1000, 3).round(5)
    lines = ["info,1.0,take", "bs,jawOpen,eyeBlink_L,mouthSmile_R"]
    for time, row in zip(times, values):
        lines.append(",".join(["k", f"{time:.3f}", *["0.5"] * 10, *(f"{value:.5f}" for value in row)]))
    path.write_text("\n".join(lines) + "\n")
    return values


def write_metrical(folder: Path, frames: int = 6) -> np.ndarray:
    """metrical-tracker's checkpoints; returns the expression components ``[frames, 100]``."""
    random = np.random.default_rng(0)
    components = random.normal(0, 0.7, (frames, 100)).astype(np.float32)
    (folder / "checkpoint").mkdir(parents=True)
    for frame in range(frames):
        identity = np.array([[1, 0, 0, 0, 1, 0]], np.float32)
        flame = {
            "exp": components[frame : frame + 1],
            "shape": np.zeros((1, 300), np.float32),
            "jaw": identity,
            "eyes": np.concatenate([identity, identity], 1),
            "eyelids": np.full((1, 2), 0.25, np.float32),
        }
        camera = {"R": np.eye(3, dtype=np.float32)[None], "t": np.zeros((1, 3), np.float32)}
        payload = {"flame": flame, "opencv": camera, "img_size": np.array([512, 512]), "frame_id": f"{frame:05d}"}
        torch.save({**payload, "global_step": frame}, folder / "checkpoint" / f"{frame:05d}.frame")
    return components
