"""Targets: the files of a dataset, in every layout."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import numpy as np
from fuzz_reading import Check, Target, refused
from layout_clips import write_insta, write_nerface, write_official, write_radnerf, write_unofficial_with_traps
from rich.console import Console
from tiny_clips import write_own

from nerfblendshape_ns.common.errors import collect_user_errors
from nerfblendshape_ns.data.layouts import read_clip

FRAMES = 8
"""Frames of the tiny clips."""


def look_at_dataset(root: Path) -> None:
    """Read it as training and as nbs-check do, and hold what is taken for good to what everything else relies on."""
    clip = refused(lambda: read_clip(root))
    with collect_user_errors():
        refused(lambda: read_clip(root))
    if clip is None:
        return
    for frame in clip.frames:
        for path in (
            frame.files.image,
            frame.files.labels,
            frame.files.head_mask,
            frame.files.matte,
            frame.files.torso,
        ):
            assert path is None or os.path.abspath(path).startswith(f"{root}/"), f"{path} is outside"
    assert clip.expressions.dtype == np.float32 and np.isfinite(clip.expressions).all()
    assert np.isfinite(clip.camera_to_head).all() and clip.img_ids.dtype == np.int64
    assert clip.width > 0 and clip.height > 0
    assert np.isfinite([clip.fl_x, clip.fl_y, clip.cx, clip.cy, clip.fps]).all()


def prepare_training(root: Path) -> None:
    """The dataparser's outputs, and the first frame's pixels."""
    from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParserConfig
    from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset

    def read() -> None:
        outputs = (
            NerfBlendshapeDataParserConfig(data=root, test_frames=2, val_frames=2).setup().get_dataparser_outputs()
        )
        cameras, metadata = outputs.cameras, outputs.metadata
        for values in (
            cameras.fx,
            cameras.fy,
            cameras.cx,
            cameras.cy,
            cameras.camera_to_worlds,
            outputs.scene_box.aabb,
        ):
            assert values.isfinite().all()
        for name in ("expression_min", "expression_max", "expression_scale"):
            assert metadata[name].isfinite().all(), name
        dataset = NerfBlendshapeDataset(outputs)
        dataset.check_files()
        dataset.load()

    refused(read)


def check_dataset(root: Path) -> None:
    """``nbs-check``, which nothing in a dataset makes raise."""
    from nerfblendshape_ns.check.run import CheckOptions
    from nerfblendshape_ns.check.run import check_dataset as check

    report = check(CheckOptions(root, estimate=False))
    json.dumps(report.as_dict())
    report.print(Console(file=io.StringIO()))


def in_dataset(
    write: Callable[..., Any], name: str, use: Callable[[Path], None] = look_at_dataset, **options
) -> Target:
    """One file of a tiny dataset, the others as they were written."""

    def prepare(folder: Path) -> Tuple[List[bytes], Check]:
        root = folder / "data"
        write(root, FRAMES, **options)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        seeds = [(root / name).read_bytes()] if (root / name).exists() else []

        def check(data: bytes) -> None:
            (root / name).write_bytes(data)
            use(root)

        return seeds, check

    return prepare


def write_whole(root: Path, frames: int) -> None:
    """The own layout with all of its optional files."""
    write_own(root, frames, mesh=True)
    (root / "torso_imgs").mkdir()
    np.save(root / "landmarks.npy", np.random.default_rng(0).uniform(30, 60, (frames, 478, 2)).astype(np.float32))
    np.save(root / "frame_times.npy", np.arange(frames) / 25.0)
    record = {
        "tool": "nbs-process-data",
        "source": {"video": "talk.mp4", "digest": "0123456789abcdef"},
        "video": "talk.mp4",
        "versions": {"nerfblendshape-ns": "0.1"},
        "steps": {"frames": {"key": "k", "warnings": ["few frames; record more"]}},
    }
    (root / "process.json").write_text(json.dumps(record))


def look_at_record(root: Path) -> None:
    """What reads ``process.json`` and ``frame_times.npy``."""
    from nerfblendshape_ns.data.frame_times import frame_times
    from nerfblendshape_ns.driving.own_dataset import source_video
    from nerfblendshape_ns.process_data.steps.step_record import StepRecord
    from nerfblendshape_ns.recipes.results import dataset_facts

    refused(lambda: source_video(root))
    refused(lambda: dataset_facts(root))
    refused(lambda: StepRecord(root).is_done("frames", "k", ("expr.npy",)))
    times = refused(lambda: frame_times(read_clip(root)))
    assert times is None or (np.isfinite(times).all() and (np.diff(times) > 0).all())


def look_at_pixels(root: Path) -> None:
    """The first frame as training reads it, for both targets."""
    from nerfblendshape_ns.data.frame_images import load_frame

    files = read_clip(root).frames[0].files
    for target in ("head", "frame"):
        refused(lambda target=target: load_frame(files, (96, 96), (48, 48), target))


DATASETS: Dict[str, Target] = {
    "transforms": in_dataset(write_whole, "transforms.json"),
    "expressions": in_dataset(write_whole, "expr.npy"),
    "expression-range": in_dataset(write_whole, "expr_min.npy"),
    "expression-names": in_dataset(write_whole, "expr_names.json"),
    "landmarks": in_dataset(write_whole, "landmarks.npy"),
    "face-mesh": in_dataset(write_whole, "face_mesh.npy"),
    "frame-times": in_dataset(write_whole, "frame_times.npy", look_at_record),
    "process-record": in_dataset(write_whole, "process.json", look_at_record),
    "labels": in_dataset(write_own, "parsing/000000.png", look_at_pixels),
    "image": in_dataset(write_own, "images/000000.jpg", look_at_pixels),
    "official": in_dataset(write_official, "transforms.json"),
    "official-landmarks": in_dataset(write_official, "ori_imgs/3.lms"),
    "official-range": in_dataset(write_official, "max_46.txt"),
    "unofficial": in_dataset(write_unofficial_with_traps, "transforms_all.json"),
    "unofficial-expressions": in_dataset(write_unofficial_with_traps, "expr.npy"),
    "radnerf": in_dataset(write_radnerf, "transforms_train.json"),
    "radnerf-held-out": in_dataset(write_radnerf, "transforms_val.json"),
    "radnerf-track": in_dataset(write_radnerf, "track_params.pt", tracked=True),
    "nerface": in_dataset(write_nerface, "transforms_train.json"),
    "insta": in_dataset(write_insta, "transforms.json"),
    "insta-parameters": in_dataset(write_insta, "flame/exp/00002.txt"),
    "insta-mask": in_dataset(write_insta, "seg_mask/00001.png", look_at_pixels),
}
SLOW_DATASETS: Dict[str, Target] = {
    "training": in_dataset(write_whole, "transforms.json", prepare_training),
    "training-expressions": in_dataset(write_whole, "expr.npy", prepare_training),
    "training-labels": in_dataset(write_whole, "parsing/000000.png", prepare_training),
    "training-landmarks": in_dataset(write_whole, "landmarks.npy", prepare_training),
    "check": in_dataset(write_whole, "transforms.json", check_dataset),
    "check-expressions": in_dataset(write_whole, "expr.npy", check_dataset),
    "check-labels": in_dataset(write_whole, "parsing/000000.png", check_dataset),
}
