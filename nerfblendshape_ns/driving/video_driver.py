"""A video as a driver: the face is tracked for coefficients and head poses, nothing else is made of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import List, Optional, Sequence, Set, Tuple

import numpy as np
from rich.console import Console

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.arrays import load_arrays
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.output_folders import claimed_folder
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.driving.sequence import DriverSequence, HeadMotion
from nerfblendshape_ns.process_data.networks.model_files import LANDMARKER
from nerfblendshape_ns.process_data.options import TOOL, ProcessOptions
from nerfblendshape_ns.process_data.pipeline import run_steps
from nerfblendshape_ns.process_data.step_graph import Step, build_steps
from nerfblendshape_ns.process_data.steps.pose_step import HEAD_POSES
from nerfblendshape_ns.process_data.steps.step_record import StepRecord, discard_partial, video_key
from nerfblendshape_ns.process_data.steps.track_step import STRETCHES
from nerfblendshape_ns.process_data.video.frames import probe_video

WANTED = ("head pose", "expressions")
"""The steps whose output drives; those that they read come with them."""


def video_sequence(
    video: Path, cache: Path, landmarker: Optional[Path], offline: bool, console: Console
) -> Tuple[DriverSequence, List[str]]:
    """Track the face of a video and make it a driver.

    Args:
        video: the file.
        cache: tracks go to a folder of their own in it, so that the same video is tracked once.
        landmarker: a ``face_landmarker.task`` file; None searches as ``nbs-process-data`` does.
        offline: never fetch that model.
        console: for progress.

    Returns:
        The driver, and what the tracking warns of, such as frames without a face.

    Raises:
        UserError: the video cannot be read, shows no face, or the tracking model cannot be had.
    """
    probe_video(video)
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", video.stem)
    folder = cache / f"{name}-{video_key(video)[:8]}"
    # Poses need not be sharp to the pixel to turn a head, and refining them would need labels.
    options = ProcessOptions(video=video, output=folder, landmarker=landmarker, offline=offline, refine_poses=False)
    options.check()
    with claimed_folder(folder, TOOL, [video], "--cache", contract.PROCESS):
        run_tracking(options, console)
    warnings = [warning for step in StepRecord(folder).steps.values() for warning in step.get("warnings", [])]
    return tracked_sequence(folder, video), warnings


def run_tracking(options: ProcessOptions, console: Console) -> None:
    """Do the coefficient and pose steps of data preparation that are not done yet.

    Raises:
        UserError: as :func:`video_sequence`.
    """
    record = StepRecord(options.output)
    steps = build_steps(options, LANDMARKER.find(options.landmarker, options.offline), record)
    needed = needed_steps(steps, WANTED)
    record.document.update(video=str(options.video.resolve()))
    for step in run_steps([step for step in steps if step.name in needed], record, console):
        if step.name == "landmarks":
            discard_partial(options.output / STRETCHES)


def needed_steps(steps: Sequence[Step], wanted: Sequence[str]) -> Set[str]:
    """Names of the wanted steps and of all that they read from."""
    after = {step.name: list(step.after) for step in steps}
    found: Set[str] = set()
    pending: List[str] = list(wanted)
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += after[name]
    return found


def tracked_sequence(folder: Path, video: Path) -> DriverSequence:
    """The driver in a folder that :func:`run_tracking` has filled.

    Raises:
        UserError: a file is damaged.
    """
    values = file_io.load_array(folder / contract.EXPRESSIONS).astype(np.float64)
    names = file_io.load_json(folder / contract.EXPRESSION_NAMES)
    poses = load_arrays(folder / HEAD_POSES).get("camera_to_head")
    times = file_io.load_array(folder / contract.FRAME_TIMES).astype(np.float64)
    if poses is None or len(poses) != len(values) or len(times) != len(values):
        raise UserError(f"{folder} does not fit together; delete it and drive again, the video is then tracked afresh.")
    return DriverSequence(
        label=str(video),
        names=tuple(names["names"]),
        values=values,
        times=times,
        basis_id=str(names["basis"]),
        motion=HeadMotion.from_camera_poses(poses),
        # Images of frames without a face are gone and the others numbered anew, as the rows of expr.npy are.
        read_image=lambda frame: file_io.load_image(folder / contract.IMAGES / contract.image_name(frame)),
        audio=video,
    )
