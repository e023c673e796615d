"""The options of ``nbs-drive``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Optional

import tyro

from nerfblendshape_ns.coefficient_names.arkit import NameList
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.driving.head_pose import HeadPoseMode, PoseSettings
from nerfblendshape_ns.expressions.retarget import RetargetMode

OWN_SPLITS = ("test", "val", "train", "all")
"""Words for ``--by`` that mean the avatar's own clip."""


@dataclass
class DriveOptions:
    """Drive an avatar: by its own clip, another dataset, a video, a coefficient file or typed keyframes."""

    avatar: tyro.conf.Positional[Path]
    """A run's directory, its config.yml, a checkpoint, or an exported avatar file."""
    by: str = "test"
    """What drives: test, val, train or all (frames of the avatar's own clip); a dataset's folder; a video file; a file
    of coefficients (.npy, .npz, .csv, .json, …); a .yaml file of keyframes."""
    output: Path = Path("drive.mp4")
    """An .mp4 file, or a folder for a PNG sequence: a new or an empty one, or an earlier result, which is replaced. A
    drive that was killed goes on when run again."""
    overwrite: bool = False
    """Replace the .mp4 file if it exists."""
    format: Literal["auto", "mp4", "png", "rgba"] = "auto"
    """auto: mp4 where the output's name ends in .mp4, else png; rgba: PNGs whose opacity is the avatar's."""
    fps: float = 25.0
    """Frames a second of the result; the driver is resampled to it."""
    start: float = 0.0
    """Seconds of the driver to leave out at the beginning."""
    end: Optional[float] = None
    """Second of the driver to stop at."""
    size: Optional[int] = None
    """Longer side of the render in pixels; the avatar's training size if left out."""
    background: str = "own"
    """own: white behind a head, the clip's clean background behind a whole person; plate: the clean background; or a
    colour such as green or #00ff00, or an image file."""
    side_by_side: bool = False
    """Show the driver's picture to the left of the render; for the avatar's own clip this is the truth."""
    audio: str = "auto"
    """auto: the sound of the driver's video where that is still the same file; none; or a file."""

    head_pose: HeadPoseMode = "auto"
    """tracked: the head moves as the driver's; rotations: the driver's rotations at this person's usual place; own: as
    in this person's clip; fixed: this person's mean; orbit: the camera circles; yaw-sweep: the head turns from side to
    side. auto: tracked for the own clip, rotations for drivers with head poses, else fixed."""
    align_poses: bool = True
    """Measure another driver's rotations from its mean and apply them about this person's mean; without it they are
    taken as they are."""
    limit_poses: bool = True
    """Soften another driver's turns beyond 3 degrees more than this person's clip shows; farther views are guesses."""
    smooth_poses: int = 1
    """Average head poses over so many frames, an odd number; 7 is what the unofficial NeRFBlendShape code takes."""
    pose_degrees: float = 15.0
    """Amplitude of orbit and yaw-sweep."""
    pose_period: int = 100
    """Frames of one orbit, or of the yaw-sweep from one side to the other."""

    retarget: RetargetMode = "auto"
    """none: coefficients as they are; neutral: the driver's resting face becomes this person's; range: its peaks too.
    auto: range for another dataset or video, none for the own clip, files and keyframes."""
    gain: float = 1.0
    """Exaggerates (above 1) or tones down (below 1) what differs from the resting face, after the clamp."""
    clamp: bool = True
    """Keep coefficients inside the range that training has seen."""
    smooth_expressions: float = 0.0
    """Smoothing of coefficients in frames of the result, without delay: motion with a period of 6.3 times this is
    halved; 0 for none."""

    source_fps: Optional[float] = None
    """Rows per second of a file of coefficients; overrules the clock of a file that has one."""
    names: Optional[NameList] = None
    """What the columns of a file of coefficients are where it does not name them: ARKit's 52 in Live Link Face's
    order, or MediaPipe's 52 in the Face Landmarker's."""
    data: Optional[Path] = None
    """The avatar's own dataset, for its truth, sound and background, where the run's config.yml no longer finds it."""
    cache: Optional[Path] = None
    """Folder for the tracks of driving videos; by default .nbs-drive beside the output."""
    landmarker: Optional[Path] = None
    """A face_landmarker.task file for driving videos; searched for as by nbs-process-data if left out."""

    def check(self) -> None:
        """Raise a UserError for values that no drive can use."""
        if not 0 < self.fps <= 1000:
            raise UserError(f"--fps {self.fps:g} is not a frame rate; give a number above 0, such as 25.")
        if self.source_fps is not None and not 0 < self.source_fps <= 1000:
            raise UserError(f"--source-fps {self.source_fps:g} is not a frame rate; give a number above 0.")
        if self.start < 0 or (self.end is not None and self.end <= self.start):
            raise UserError(f"--start {self.start:g} --end {self.end} is no stretch of time; give 0 <= start < end.")
        if self.size is not None and not 16 <= self.size <= 8192:
            raise UserError(f"--size {self.size} is no picture size; give between 16 and 8192 pixels.")
        if not -10 <= self.gain <= 10:
            raise UserError(f"--gain {self.gain:g} is too far from 1; give between -10 and 10.")
        if self.smooth_expressions < 0:
            raise UserError("--smooth-expressions cannot be negative; give 0 for no smoothing.")
        if self.format == "mp4" and self.output.suffix.lower() != ".mp4":
            raise UserError(f"--format mp4 needs an --output that ends in .mp4, not {self.output.name}.")
        if self.format in ("png", "rgba") and self.output.suffix.lower() == ".mp4":
            raise UserError(f"--format {self.format} needs a folder for --output, not {self.output.name}.")
        if self.output.suffix.lower() == ".mp4" and self.output.is_dir():
            raise UserError(f"--output {self.output} is a folder; give a file name, or a folder without .mp4.")
        if self.resolved_format == "rgba" and self.side_by_side:
            raise UserError("--side-by-side has no place in an RGBA sequence; leave one of the two out.")

    @property
    def resolved_format(self) -> Literal["mp4", "png", "rgba"]:
        """The format with ``auto`` decided by the output's name."""
        if self.format != "auto":
            return self.format
        return "mp4" if self.output.suffix.lower() == ".mp4" else "png"

    @property
    def poses(self) -> PoseSettings:
        """What concerns head poses."""
        return PoseSettings(
            mode=self.head_pose,
            align=self.align_poses,
            limit=self.limit_poses,
            smooth_window=self.smooth_poses,
            degrees=self.pose_degrees,
            period=self.pose_period,
        )
