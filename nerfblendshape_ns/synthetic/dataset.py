"""Writes a clip of the synthetic head as a dataset directory, and as a video."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Callable, Iterator, Optional, Tuple

import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.output_folders import replaced_folder
from nerfblendshape_ns.common.output_paths import check_file, check_folder
from nerfblendshape_ns.common.version import __version__
from nerfblendshape_ns.common.video_writing import check_encoders, write_video
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.synthetic.camera import Intrinsics, camera_to_head, default_intrinsics, project
from nerfblendshape_ns.synthetic.expressions import EXPRESSION_NAMES
from nerfblendshape_ns.synthetic.head import Rendering, synthetic_head
from nerfblendshape_ns.synthetic.motion import MAX_PITCH, MAX_ROLL, MAX_YAW, talking_motion

TOOL = "nbs-synthetic"
"""Name in the record of a synthetic dataset."""
BASIS = "custom"
SLOWEST, FASTEST = 1, 1000
"""Frames per second: the motion is made for the whole time of a clip, which at a lower rate has no end."""

GENERATION = 2
"""Raised with every change to the head or the motion that the same settings give."""


@dataclass(frozen=True)
class ClipSettings:
    """What a synthetic clip is made from; equal settings give equal files."""

    num_frames: int = 200
    """Number of frames."""
    width: int = 128
    """Image width in pixels."""
    height: int = 128
    """Image height in pixels."""
    fps: float = 25.0
    """Frames per second."""
    seed: int = 0
    """Decides the person, the room and the motion."""
    samples: int = 2
    """Rays per pixel along each axis."""

    def check(self) -> None:
        """Refuse settings that make no clip.

        Raises:
            UserError: a value is out of range.
        """
        if self.num_frames < 2:
            raise UserError(f"a talking clip needs at least 2 frames, got {self.num_frames}; raise --num-frames.")
        if not SLOWEST <= self.fps <= FASTEST:
            raise UserError(f"the frame rate must be from {SLOWEST} to {FASTEST}, got {self.fps}; set --fps.")
        if not 1 <= self.samples <= 8:
            raise UserError(
                f"from 1 to 8 rays per pixel along each axis are possible, got {self.samples}; set --samples."
            )
        if self.seed < 0:
            raise UserError(f"the seed must not be negative, got {self.seed}; set --seed.")
        default_intrinsics(self.width, self.height)

    @property
    def intrinsics(self) -> Intrinsics:
        """The webcam."""
        return default_intrinsics(self.width, self.height)


class OutdatedDataset(UserError):
    """A synthetic dataset whose head or motion differs from what its settings give in this version."""


def render_clip(settings: ClipSettings) -> Iterator[Tuple[int, Rendering]]:
    """Render the frames of a clip one after the other."""
    settings.check()
    head = synthetic_head(settings.seed)
    motion = talking_motion(settings.num_frames, settings.fps, settings.seed)
    cameras = camera_to_head(motion.head_to_world)
    for index in range(settings.num_frames):
        yield (
            index,
            head.render(motion.expressions[index], cameras[index], settings.intrinsics, samples=settings.samples),
        )


def write_dataset(
    settings: ClipSettings,
    output: Optional[Path] = None,
    video: Optional[Path] = None,
    progress: Callable[[int], None] = lambda frame: None,
    overwrite: bool = False,
) -> None:
    """Render a clip and write it.

    Args:
        settings: what to render.
        output: the dataset directory: a new or an empty one, or one that this wrote, which is replaced. None writes no
            dataset.
        video: an mp4 file of the frames. None writes no video.
        progress: called with the number of each finished frame.
        overwrite: replace a video that exists.

    Raises:
        UserError: settings out of range, or an output that must not or cannot be written. Nothing is left behind: both
            appear only when they are complete.
    """
    settings.check()
    if output is None and video is None:
        raise UserError("there is nothing to write; give --output for a dataset, --video for a video, or both.")
    if output is not None:
        check_folder(output, TOOL)
    if video is not None:
        check_encoders()
        check_file(video, overwrite, [] if output is None else [output], "--video")
    with nullcontext() if output is None else replaced_folder(output, TOOL) as root:
        if root is not None:
            _write_arrays(settings, root)
        images = _written_images(settings, root, progress)
        if video is not None:
            write_video(video, images, settings.fps)
        else:
            for _ in images:
                pass


def _written_images(
    settings: ClipSettings, root: Optional[Path], progress: Callable[[int], None]
) -> Iterator[np.ndarray]:
    """Render the frames and write them with their labels into a dataset directory, if there is one."""
    for index, rendering in render_clip(settings):
        if root is not None:
            file_io.save_image(root / contract.IMAGES / contract.image_name(index), rendering.image)
            file_io.save_image(root / contract.PARSING / contract.parsing_name(index), rendering.labels)
        yield rendering.image
        progress(index)


def _write_arrays(settings: ClipSettings, root: Path) -> None:
    """Everything of the contract but the frames and their labels."""
    head = synthetic_head(settings.seed)
    motion = talking_motion(settings.num_frames, settings.fps, settings.seed)
    intrinsics = settings.intrinsics
    cameras = camera_to_head(motion.head_to_world)
    frames = [project(head.landmarks(row), camera, intrinsics) for row, camera in zip(motion.expressions, cameras)]
    landmarks = np.stack(frames).astype(np.float32)
    contract.save_expressions(root, motion.expressions, list(EXPRESSION_NAMES), BASIS)
    file_io.save_array(root / contract.LANDMARKS, landmarks)
    file_io.save_array(root / contract.FACE_MESH, head.landmarks(np.zeros(len(EXPRESSION_NAMES), np.float32))[:468])
    clean_plate = np.clip(np.round(head.background(settings.width, settings.height) * 255.0), 0, 255).astype(np.uint8)
    file_io.save_image(root / contract.BACKGROUND, clean_plate)
    contract.save_transforms(
        root,
        width=settings.width,
        height=settings.height,
        fl_x=intrinsics.fl_x,
        fl_y=intrinsics.fl_y,
        cx=intrinsics.cx,
        cy=intrinsics.cy,
        fps=settings.fps,
        frames=[contract.frame_entry(i, cameras[i], landmarks[i]) for i in range(settings.num_frames)],
    )
    file_io.save_json(root / contract.PROCESS, _process_record(settings))


def _process_record(settings: ClipSettings) -> dict:
    return {
        "source": TOOL,
        "generation": GENERATION,
        "versions": {"nerfblendshape-ns": __version__},
        "options": asdict(settings),
        "head_rotation_limits_degrees": {"yaw": MAX_YAW, "pitch": MAX_PITCH, "roll": MAX_ROLL},
        "steps": {"render": {"status": "done", "frames": settings.num_frames}},
        "warnings": [],
    }


def load_settings(dataset: Path) -> ClipSettings:
    """The settings that a synthetic dataset was made from, so that its head can be rendered again.

    Raises:
        OutdatedDataset: another generation of the synthetic head made it.
        UserError: the directory is not a synthetic dataset, or its settings make no clip.
    """
    record = file_io.load_json(dataset / contract.PROCESS)
    if not isinstance(record, dict) or record.get("source") != TOOL:
        raise UserError(
            f"{dataset / contract.PROCESS} was not written by nbs-synthetic, so the head cannot be rendered again; "
            "give a synthetic dataset."
        )
    try:
        settings = ClipSettings(**record["options"])
        settings.check()
    except (KeyError, TypeError, UserError):
        raise UserError(
            f"{dataset / contract.PROCESS} lacks usable options of the clip ({json.dumps(record.get('options'))}); "
            "make the dataset again with nbs-synthetic."
        ) from None
    if record.get("generation", 1) != GENERATION:
        raise OutdatedDataset(
            f"{dataset} was made by another version of the synthetic head, which moves otherwise; remove it and "
            "make it again with nbs-synthetic."
        )
    return settings
