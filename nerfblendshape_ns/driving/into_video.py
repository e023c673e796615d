"""The render pasted back into the uncropped frames of the video that the avatar's clip was cut from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Tuple

import cv2
import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.frame_images import FrameFiles, load_labels, load_matte
from nerfblendshape_ns.data.frame_times import frame_times
from nerfblendshape_ns.data.labels import head_mask, soft_alpha
from nerfblendshape_ns.data.layouts import Clip
from nerfblendshape_ns.data.mattes import head_alpha
from nerfblendshape_ns.driving.images import resize
from nerfblendshape_ns.driving.person import AvatarPerson
from nerfblendshape_ns.process_data.steps.step_record import video_key
from nerfblendshape_ns.process_data.video.crop import FrameWindow
from nerfblendshape_ns.process_data.video.frames import decode

BORDER = 0.06
"""Fraction of the crop's side over which the render fades into the frame, on sides that are not the frame's own."""
SEAM = 0.02
"""Width of the seam of the neck along the head, as a fraction of the crop's side."""
LONGEST_HOLD = 0.2
"""Seconds for which the dataset's nearest frame stands in where a face was lost; the filmed one would flash up."""
LOOK_BACK = 1.0
"""Seconds before a wanted image from which a video is read: the nearest one may come before it."""
UNSEEN = 0.02
"""Opacity of the filmed person below which a pixel shows what is behind."""
_NO_IMAGE = (-np.inf, np.empty(0))


@dataclass
class SourceVideo:
    """The video behind an avatar's dataset, read forwards."""

    path: Path
    """The file."""
    window: FrameWindow
    """What part of its frames the dataset shows."""
    clip: Clip
    """The dataset."""
    times: np.ndarray
    """float64 ``[frames]`` seconds in the video of each of the dataset's frames."""
    whole_person: bool
    """Whether the avatar shows neck and torso too."""
    faceless: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """float64 ``[any]`` seconds in the video of frames that the dataset left out since they show no face."""
    _decoded: Optional[Iterator[Tuple[int, float, np.ndarray]]] = field(default=None, repr=False)
    _before: Tuple[float, np.ndarray] = field(default=_NO_IMAGE, repr=False)
    _after: Tuple[float, np.ndarray] = field(default=_NO_IMAGE, repr=False)

    @property
    def duration(self) -> float:
        """Seconds that the dataset shows, the last frame's own included."""
        return float(self.times[-1] - self.times[0]) + 1.0 / self.clip.fps

    def frames_at(self, seconds: np.ndarray) -> np.ndarray:
        """The dataset's frame nearest to each instant of the video, int64."""
        middles = (self.times[1:] + self.times[:-1]) / 2
        return np.searchsorted(middles, seconds).astype(np.int64)

    def faceless_at(self, seconds: np.ndarray) -> np.ndarray:
        """The time of the frame without a face at each instant of the video; NaN where the dataset has a nearer one."""
        if not len(self.faceless):
            return np.full(len(seconds), np.nan)
        middles = (self.faceless[1:] + self.faceless[:-1]) / 2
        there, nearest = self.faceless[np.searchsorted(middles, seconds)], self.times[self.frames_at(seconds)]
        return np.where(np.abs(there - seconds) < np.abs(nearest - seconds), there, np.nan)

    def read(self, frame: int) -> np.ndarray:
        """The whole image of a frame of the dataset, uint8 RGB; see :meth:`image_at`."""
        return self.image_at(float(self.times[frame]))

    def image_at(self, wanted: float) -> np.ndarray:
        """The image nearest to an instant, uint8 RGB; quick where they are asked for in ascending order.

        The nearest, not the next: so data preparation chooses frames of a variable frame rate.

        Raises:
            UserError: the video ends more than a frame before it.
        """
        if self._decoded is None or wanted < self._before[0]:
            self._decoded = decode(self.path, max(0.0, wanted - LOOK_BACK))
            self._before = self._after = _NO_IMAGE
        while self._after[0] < wanted:
            following = next(self._decoded, None)
            if following is None:
                break
            self._before, self._after = self._after, following[1:]
        if wanted - self._after[0] > 1.0 / self.clip.fps:
            raise UserError(
                f"{self.path} ends before second {wanted:.2f}, which the avatar's dataset shows; restore it."
            )
        is_before = wanted - self._before[0] <= self._after[0] - wanted
        return self._before[1] if is_before else self._after[1]

    def paste(self, frame: int, outputs: Dict[str, Any]) -> np.ndarray:
        """A frame of the video with the render in place of the filmed head, or person.

        Where the render is not opaque, what was behind the filmed person is seen: what the model knows of it, or for a
        head the nearest pixels around it.

        Args:
            frame: of the dataset, at whose head pose the render was made.
            outputs: of :meth:`~nerfblendshape_ns.avatar.avatar.Avatar.render`, a head over black.

        Returns:
            uint8 RGB of the video's size.
        """
        image, window = self.read(frame).copy(), self.window
        rows, columns = slice(window.top, window.top + window.height), slice(window.left, window.left + window.width)
        crop = image[rows, columns].astype(np.float32)
        size = window.height, window.width
        alpha = _resized(outputs["accumulation"].cpu().numpy()[..., 0], size)[..., None]
        render = _resized(outputs["rgb"].cpu().numpy(), size) * 255.0
        filmed = _resized(filmed_opacity(self.clip.frames[frame].files, self.whole_person), size)
        if self.whole_person:
            plate = _resized(outputs["background"].cpu().numpy(), size) * 255.0
            render = render - (1.0 - alpha) * plate
        else:
            plate = filled(crop, filmed > UNSEEN)
        covered = np.clip((filmed - UNSEEN) / 0.2, 0.0, 1.0)[..., None]
        behind = crop + covered * (plate - crop)
        shown = render + (1.0 - alpha) * behind
        weight = border_weight(window, (image.shape[0], image.shape[1]))[..., None]
        image[rows, columns] = np.clip(crop + weight * (shown - crop) + 0.5, 0, 255).astype(np.uint8)
        return image


def open_source_video(path: Path, person: AvatarPerson) -> SourceVideo:
    """Find where an avatar's dataset lies in the video that it was made from.

    Raises:
        UserError: the dataset or the avatar's track is missing, or the video is another one.
    """
    clip = person.clip
    if clip is None or person.avatar.track is None:
        raise UserError(
            "--into needs the avatar's own dataset, which says where in the video its crop lies, and the avatar's "
            "track; give --data, or export the avatar with its track."
        )
    record = clip.root / contract.PROCESS
    document = file_io.load_json(record) if record.is_file() else {}
    try:
        digest = document["source"]["digest"]
        window = FrameWindow(**document["steps"]["frames"]["summary"]["window"])
    except (KeyError, TypeError):
        raise UserError(
            f"{clip.root} does not say which part of which video it shows; --into needs a dataset that "
            "nbs-process-data made."
        ) from None
    if not path.is_file() or video_key(path) != digest:
        raise UserError(f"--into {path} is not the video that {clip.root} was made from; give that very file.")
    times = frame_times(clip)
    return SourceVideo(path, window, clip, times, person.avatar.kind != "head", faceless_times(document, times))


def faceless_times(document: Dict[str, Any], times: np.ndarray) -> np.ndarray:
    """When the frames were filmed that a dataset left out since they show no face for more than :data:`LONGEST_HOLD`.

    Args:
        document: of ``process.json``, which has their numbers.
        times: of the frames that are there.

    Returns:
        float64 ``[any]`` ascending seconds, interpolated.
    """
    try:
        tracked = document["steps"]["landmarks"]["summary"]
        lost = np.unique(np.array(tracked["lost_frames"] if tracked["on_missing"] == "drop" else [], dtype=np.int64))
        kept = np.setdiff1d(np.arange(len(times) + len(lost)), lost)
    except (KeyError, TypeError, ValueError, OverflowError):
        return np.zeros(0)
    if not len(lost) or len(kept) != len(times):
        return np.zeros(0)
    after = np.searchsorted(kept, lost)
    inside = (after > 0) & (after < len(kept))
    lost, after = lost[inside], after[inside]
    lost = lost[times[after] - times[after - 1] > LONGEST_HOLD]
    return np.interp(lost, kept, times)


def filmed_opacity(files: FrameFiles, whole_person: bool) -> np.ndarray:
    """How opaque the filmed head (or person) is, float32 ``[height, width]`` in 0..1.

    A seam of the neck along the head counts as the head's: the chin's outline and shadow go with it.

    Raises:
        UserError: labels or matte are missing or damaged.
    """
    labels, matte = load_labels(files), load_matte(files)
    if whole_person:
        labels = np.where(labels == contract.Label.BACKGROUND, labels, np.uint8(contract.Label.HEAD))
    opacity = soft_alpha(labels) if matte is None else head_alpha(labels, matte)
    neck = labels == contract.Label.NECK
    size = 2 * max(1, round(SEAM * max(labels.shape))) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    near = cv2.dilate(head_mask(labels).astype(np.uint8), kernel) > 0
    seam = cv2.GaussianBlur((near & neck).astype(np.float32), (0, 0), size / 8)
    return np.maximum(opacity, seam * neck)


def filled(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """An image whose hole goes on smoothly from the pixels around it: push-pull over a pyramid of means.

    Source: Gortler et al., "The Lumigraph", SIGGRAPH 1996, section 3.4.

    Args:
        image: float32 ``[height, width, 3]``.
        hole: bool ``[height, width]``.
    """
    if not hole.any() or hole.all():
        return image
    weights = [(~hole).astype(np.float32)]
    colours = [image * weights[0][..., None]]
    while min(weights[-1].shape) > 1 and weights[-1].min() < 1.0:
        mean = cv2.pyrDown(weights[-1])
        scale = np.minimum(1.0, 2.0 * mean) / np.maximum(mean, 1e-6)
        colours.append(cv2.pyrDown(colours[-1]) * scale[..., None])
        weights.append(mean * scale)
    result = colours[-1] / np.maximum(weights[-1], 1e-6)[..., None]
    for colour, weight in zip(colours[-2::-1], weights[-2::-1]):
        coarse = cv2.pyrUp(result, dstsize=(weight.shape[1], weight.shape[0]))
        result = colour + (1.0 - weight)[..., None] * coarse
    return np.where(hole[..., None], result, image)


def border_weight(window: FrameWindow, frame_size: Tuple[int, int]) -> np.ndarray:
    """How far the render replaces the frame: 1 inside, falling to 0 at the crop's sides that are not the frame's.

    Args:
        window: the crop.
        frame_size: height and width of the frame.

    Returns:
        float32 ``[window height, window width]``.
    """

    def ramp(start: int, length: int, whole: int) -> np.ndarray:
        distance = np.arange(length) + 0.5
        width = max(1.0, BORDER * min(window.width, window.height))
        low = distance / width if start > 0 else np.ones(length)
        high = distance[::-1] / width if start + length < whole else np.ones(length)
        inside = np.clip(np.minimum(low, high), 0.0, 1.0)
        return inside * inside * (3.0 - 2.0 * inside)

    down = ramp(window.top, window.height, frame_size[0])
    across = ramp(window.left, window.width, frame_size[1])
    return np.outer(down, across).astype(np.float32)


def _resized(image: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Bring an image in 0..1 to height and width."""
    return np.clip(resize(image, size), 0.0, 1.0)
