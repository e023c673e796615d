"""What must come of an awkward video when it is prepared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np
from awkward_videos import Sources

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.process_data.video.frames import probe_video

Check = Callable[[Sources, Dict[str, Any], Path], List[str]]
"""Takes the good videos, ``process.json`` and the dataset folder; returns what is wrong, nothing if all is well."""


def read(root: Path, name: str) -> Any:
    """A JSON file of a dataset."""
    return json.loads((root / name).read_text())


def warned(document: Dict[str, Any], words: str) -> bool:
    """Whether some step warns with these words."""
    return any(words in text for entry in document["steps"].values() for text in entry["warnings"])


def whole(document: Dict[str, Any], root: Path) -> List[str]:
    """What every dataset must have: as many images, poses, coefficients and times as it says, and a face in each."""
    wrong = []
    frames = read(root, contract.TRANSFORMS)["frames"]
    counts = {
        "poses": len(frames),
        "images": len(list((root / contract.IMAGES).iterdir())),
        "labels": len(list((root / contract.PARSING).iterdir())),
        "coefficients": len(np.load(root / contract.EXPRESSIONS)),
        "raw coefficients": len(np.load(root / "expr_raw.npy")),
        "raw poses": len(np.load(root / "poses_raw.npy")),
        "times": len(np.load(root / "frame_times.npy")),
        "reprojection": len(document["pose"]["reprojection_px"]),
    }
    if len(set(counts.values())) != 1:
        wrong.append(f"counts differ: {counts}")
    if document["pose"]["reprojection_rms_px"] > 4.0:
        wrong.append(f"reprojection {document['pose']['reprojection_rms_px']:.2f} px")
    lost = document["steps"]["landmarks"]["summary"]["lost_frames"]
    if len(lost) > 0.1 * len(frames):
        wrong.append(f"face lost in {len(lost)} frames")
    if not np.allclose(
        np.diff(np.load(root / "frame_times.npy")), 1 / read(root, contract.TRANSFORMS)["fps"], atol=2e-3
    ):
        if not lost:
            wrong.append("times are not evenly spaced")
    return wrong


def expect(**facts: Callable[[Any], bool]) -> Check:
    """Checks of values in the summary of the step that chose the frames, beside :func:`whole`."""

    def check(sources: Sources, document: Dict[str, Any], root: Path) -> List[str]:
        summary = document["steps"]["frames"]["summary"]
        wrong = [f"{name} is {summary[name]}" for name, right in facts.items() if not right(summary[name])]
        return whole(document, root) + wrong

    return check


def and_warning(words: str, check: Check) -> Check:
    """A check that wants a warning, too."""

    def both(sources: Sources, document: Dict[str, Any], root: Path) -> List[str]:
        wrong = check(sources, document, root)
        return wrong if warned(document, words) else wrong + [f"no warning says {words!r}"]

    return both


def upright(sources: Sources, document: Dict[str, Any], root: Path) -> List[str]:
    """The picture is read upright, and so is the head."""
    wrong = whole(document, root)
    summary = document["steps"]["frames"]["summary"]
    source = probe_video(sources.first)
    size = source.width, source.height
    if (summary["source_width"], summary["source_height"]) != size:
        wrong.append(f"read as {summary['source_width']}x{summary['source_height']}, upright it is {size}")
    roll = np.load(root / "head_poses.npz")["angles"][:, 2]
    if np.abs(roll).max() > 45:
        wrong.append(f"the head is turned by {roll.mean():.0f} degrees")
    return wrong


def variable_times(sources: Sources, document: Dict[str, Any], root: Path) -> List[str]:
    """Frames are as evenly spaced as most were, over the same time; gaps are filled."""
    wrong = whole(document, root)
    summary = document["steps"]["frames"]["summary"]
    if abs(summary["fps"] - sources.fps) > 0.05 * sources.fps:
        wrong.append(f"{summary['fps']} frames per second")
    if abs(summary["end"] - summary["start"] - sources.seconds) > 3 / sources.fps:
        wrong.append(f"from {summary['start']} to {summary['end']} s of {sources.seconds}")
    if not summary["repeated_frames"]:
        wrong.append("no frame is repeated")
    return wrong


def longer_shot(sources: Sources, document: Dict[str, Any], root: Path) -> List[str]:
    """The longer scene is chosen."""
    wrong = whole(document, root)
    start = document["source"]["start"]
    expected = max(4, sources.num_frames // 2) / sources.fps
    if abs(start - expected) > 1.5 / sources.fps:
        wrong.append(f"the scene begins at {start} s instead of {expected:.2f}")
    return wrong


def no_lead_in(sources: Sources, document: Dict[str, Any], root: Path) -> List[str]:
    """Neither black nor fading frames are left."""
    wrong = whole(document, root)
    start = document["source"]["start"] * sources.fps
    if not 9 <= start <= 14:
        wrong.append(f"the first frame is {start:.1f}; 8 are black and 4 fade in")
    first = file_io.load_image(root / contract.IMAGES / contract.image_name(0)).mean()
    if first < 0.75 * file_io.load_image(root / contract.IMAGES / contract.image_name(5)).mean():
        wrong.append("the first image is dark")
    return wrong


def larger_face(sources: Sources, document: Dict[str, Any], root: Path) -> List[str]:
    """The larger face, at the right, is followed."""
    wrong = whole(document, root)
    window = document["steps"]["frames"]["summary"]["window"]
    points = np.load(root / contract.LANDMARKS).mean(1) / (window["out_width"] / window["width"])
    across = points[:, 0] + window["left"]
    if across.min() < 400:
        wrong.append(f"the smaller face at the left is followed (x from {across.min():.0f})")
    return wrong


def moving_camera(sources: Sources, document: Dict[str, Any], root: Path) -> List[str]:
    """The camera is said to move."""
    moving = document["camera"]["moving"]
    return whole(document, root) + ([] if moving is True else [f"the camera is said to move: {moving}"])


def nothing_more(sources: Sources, document: Dict[str, Any], root: Path) -> List[str]:
    """Whatever comes of it is right."""
    return []
