"""The options of ``nbs-drive``."""

from __future__ import annotations

import math
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import tyro

from nerfblendshape_ns.coefficient_names.arkit import NameList
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.driving.head_pose import HeadPoseMode, PoseSettings
from nerfblendshape_ns.expressions.retarget import RetargetMode

OWN_SPLITS = ("test", "val", "train", "all")
"""Words for ``--by`` that mean the avatar's own clip."""

DEFAULT_FPS = 25.0
"""Frames per second of a result, and rows per second of a file without times: each is then a frame."""


@dataclass
class DriveOptions:
    """Drive an avatar: by its own clip, another dataset, a video, speech, a coefficient file or typed keyframes."""

    avatar: tyro.conf.Positional[Path]
    """A run's directory, its config.yml, a checkpoint, or an exported avatar file."""
    by: str = "test"
    """What drives: test, val, train or all (frames of the avatar's own clip); a dataset's folder; a video file; a
    sound file; a file of coefficients (.npy, .npz, .csv, .json, …); a .yaml file of keyframes."""
    text: Optional[str] = None
    """The words of a sound file, in English: the lips form them. Without them its loudness alone opens the jaw."""
    idle: bool = True
    """Blink and move the head a little while a sound file drives."""
    output: Path = Path("drive.mp4")
    """An .mp4 file, or a folder for a PNG sequence: a new or an empty one, or an earlier result, which is replaced. A
    drive that was killed goes on when run again."""
    overwrite: bool = False
    """Replace the .mp4 file if it exists."""
    rgba: bool = False
    """Write PNGs with the avatar's opacity as alpha channel."""
    into: Optional[Path] = None
    """Paste the render back into the uncropped frames of this video, from which the avatar's dataset was made: the head
    poses are the video's. Another driver's expressions begin with the video, and end with it."""
    fps: Optional[float] = None
    """Frames per second of the result, to which the driver is resampled; 25 if left out, with --into those of the
    avatar's dataset."""
    start: float = 0.0
    """Seconds of the driver to leave out at the beginning."""
    end: Optional[float] = None
    """Second of the driver to stop at."""
    size: Optional[int] = None
    """Longer side of the render in pixels; the avatar's training size if left out."""
    background: str = "own"
    """own: white behind a head, the clip's clean plate behind a whole person; plate: the clean plate; or a colour such
    as green or #00ff00, or an image file."""
    side_by_side: bool = False
    """Show the driver's image to the left of the render; for the avatar's own clip this is the ground truth."""
    audio: str = "auto"
    """auto: the sound of the driver (of a dataset that of its video, where that is still the same file), else that of
    the video of --into; none; or a file."""

    head_pose: HeadPoseMode = "auto"
    """tracked: rotations and translations of the driver's head; rotations: its rotations at this person's mean
    position; own: the poses of this person's clip; fixed: this person's mean pose; orbit: the camera circles;
    yaw-sweep: the head turns from side to side. auto: tracked for the own clip, rotations for other drivers with head
    poses, else fixed."""
    limit_poses: bool = True
    """Soften another driver's yaw and pitch so that none goes more than 3 degrees beyond the range of this person's
    clip, and end typed angles there; views farther out are extrapolated."""
    smooth_poses: int = 1
    """Average head poses over this many frames, an odd number; the unofficial NeRFBlendShape code uses 7."""
    pose_degrees: float = 15.0
    """Amplitude of orbit and yaw-sweep."""
    pose_period: int = 100
    """Frames of one orbit, or of the yaw-sweep from one side to the other."""

    retarget: RetargetMode = "auto"
    """none: coefficients as they are; neutral: the driver's neutral face becomes this person's; range: its peaks too.
    auto: range for another dataset, a video or sound, none for the own clip, files and keyframes."""
    gain: float = 1.0
    """Factor on the difference from the neutral face, applied after the clamp."""
    clamp: bool = True
    """Clamp coefficients to their training range."""
    smooth_expressions: float = 0.0
    """Smoothing of coefficients in frames of the result, without delay: motion with a period of 6.3 times this is
    halved; 0 for none."""

    source_fps: Optional[float] = None
    """Rows per second of a file of coefficients; overrides the times of a file that has them."""
    map: Optional[Path] = None
    """A file of nbs-basis-map, which takes the driver's coefficients to the avatar's basis: FLAME's to ARKit's or
    back."""
    names: Optional[NameList] = None
    """What the columns of a file of coefficients are where it does not name them: ARKit's 52 in Live Link Face's
    order, or MediaPipe's 52 in the Face Landmarker's."""
    data: Optional[Path] = None
    """The avatar's own dataset, for ground truth, sound and clean plate, where the run's config.yml no longer finds
    it."""
    cache: Optional[Path] = None
    """Folder for the tracks of driving videos; by default .nbs-drive beside the output."""
    landmarker: Optional[Path] = None
    """A face_landmarker.task file for driving videos; searched for as by nbs-process-data if left out."""
    offline: bool = False
    """Never fetch that file: say how to bring it."""

    def check(self) -> None:
        """Raise a UserError for values that no drive can use."""
        if self.fps is not None and not 0.1 <= self.fps <= 1000:
            raise UserError(f"--fps {self.fps:g} is not a frame rate; give a number from 0.1 to 1000.")
        if self.source_fps is not None and not 0 < self.source_fps <= 1000:
            raise UserError(f"--source-fps {self.source_fps:g} is not a frame rate; give a number above 0.")
        if not 0 <= self.start < (math.inf if self.end is None else self.end):
            raise UserError(f"--start {self.start:g} --end {self.end} is no time interval; give 0 <= start < end.")
        if self.size is not None and not 16 <= self.size <= 8192:
            raise UserError(f"--size {self.size} is no image size; give between 16 and 8192 pixels.")
        if not -10 <= self.gain <= 10:
            raise UserError(f"--gain {self.gain:g} is too far from 1; give between -10 and 10.")
        if not 0 <= self.smooth_expressions <= 1000:
            raise UserError(
                f"--smooth-expressions {self.smooth_expressions:g} is out of range; give from 0 (none) to 1000 frames."
            )
        if self.rgba and self.is_video:
            raise UserError(f"--rgba needs a folder for --output, not {self.output.name}.")
        if self.is_video and self.output.is_dir():
            raise UserError(f"--output {self.output} is a folder; give a file name, or a folder without .mp4.")
        media = (mimetypes.guess_type(self.output.name)[0] or "").startswith(("video/", "image/", "audio/"))
        if media and not self.is_video and not self.output.is_dir():
            raise UserError(
                f"--output {self.output.name} is no .mp4, the only kind of video that is written; give a name that "
                f"ends in .mp4, or for PNG files a folder without {self.output.suffix}."
            )
        if self.rgba and self.side_by_side:
            raise UserError("--side-by-side and --rgba do not go together; leave one of the two out.")
        if self.rgba and self.background != "own":
            raise UserError("--rgba shows nothing behind the avatar; leave --background out.")
        if self.audio not in ("auto", "none") and not self.is_video:
            raise UserError(f"--audio {self.audio} needs an .mp4 for --output, not {self.output.name}.")
        poses_given = self.head_pose != "auto" or self.smooth_poses != 1
        if self.into is not None and (self.rgba or self.side_by_side or poses_given or self.background != "own"):
            raise UserError(
                "--into shows the video's own frames and head poses; leave --rgba, --side-by-side, --head-pose, "
                "--smooth-poses and --background out."
            )

    @property
    def is_video(self) -> bool:
        """Whether a video is written rather than PNG files."""
        return self.output.suffix.lower() == ".mp4"

    @property
    def poses(self) -> PoseSettings:
        """What concerns head poses."""
        return PoseSettings(
            mode=self.head_pose,
            limit=self.limit_poses,
            smooth_window=self.smooth_poses,
            degrees=self.pose_degrees,
            period=self.pose_period,
        )
