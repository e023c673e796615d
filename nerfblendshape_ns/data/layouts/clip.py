"""What every layout reader returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Optional, Tuple

import numpy as np

from nerfblendshape_ns.data.contract import MEDIAPIPE_POINTS, MESH_POINTS
from nerfblendshape_ns.data.frame_images import FrameFiles

Rect = Tuple[float, float, float, float]
"""Rectangle x, y, width, height in pixels of the full-size frame."""


@dataclass(frozen=True)
class ClipFrame:
    """One frame of a clip."""

    img_id: int
    """Number of the frame: row of ``expr.npy``, number in its file names."""
    files: FrameFiles
    """Where its image and labels are."""
    camera_to_head: np.ndarray
    """``[4, 4]`` float64 OpenGL camera-to-head matrix."""
    face_rect: Optional[Rect] = None
    """Bounding rectangle of the face."""
    mouth_rect: Optional[Rect] = None
    """Bounding rectangle of the lips."""
    eye_rects: Tuple[Rect, ...] = ()
    """Bounding rectangles of the eyes."""


@dataclass(frozen=True)
class Clip:
    """A dataset directory in memory, images and labels still on disk."""

    root: Path
    """The dataset directory."""
    layout: str
    """Name of the layout it was read with."""
    frames: Tuple[ClipFrame, ...]
    """Frames in order of ``img_id``; the numbers may have gaps."""
    width: int
    """Frame width in pixels."""
    height: int
    """Frame height in pixels."""
    fl_x: float
    """Horizontal focal length in pixels."""
    fl_y: float
    """Vertical focal length in pixels."""
    cx: float
    """Principal point, pixels from the left edge."""
    cy: float
    """Principal point, pixels from the top edge."""
    fps: float
    """Frames per second."""
    expressions: np.ndarray
    """``[num_frames, basis]`` float32 coefficients, one row for each element of ``frames``; neutral is 0."""
    expression_names: Tuple[str, ...]
    """Name of each coefficient."""
    basis_id: str
    """Which basis the coefficients belong to, such as ``arkit52``."""
    landmarks: Optional[np.ndarray] = None
    """``[num_frames, 468 or 478, 2]`` pixels in MediaPipe's numbering, one row for each element of ``frames``; NaN
    where a frame has none."""
    face_mesh: Optional[np.ndarray] = None
    """``[468, 3]`` the person's face mesh in head space, in MediaPipe's numbering."""
    background: Optional[Path] = None
    """The clean plate."""
    held_out_ids: Tuple[int, ...] = ()
    """``img_id`` of the frames that the dataset's own files keep for testing; empty where they say nothing."""
    notes: Tuple[str, ...] = ()
    """What the reader did to the files' contents that the user should know, in sentences."""

    def __post_init__(self) -> None:
        """Hold readers to the numbering by which chin, nose and forehead are found in landmarks and mesh.

        Raises:
            ValueError: landmarks or mesh are of another size than MediaPipe's.
        """
        rows = len(self.frames)
        if self.landmarks is not None and self.landmarks.shape not in [(rows, count, 2) for count in MEDIAPIPE_POINTS]:
            raise ValueError(f"landmarks of shape {self.landmarks.shape} are not MediaPipe's of {rows} frames")
        if self.face_mesh is not None and self.face_mesh.shape != (MESH_POINTS, 3):
            raise ValueError(f"a face mesh of shape {self.face_mesh.shape} is not MediaPipe's")

    @property
    def img_ids(self) -> np.ndarray:
        """int64 ``[num_frames]`` number of each frame, ascending."""
        return np.array([frame.img_id for frame in self.frames])

    @property
    def camera_to_head(self) -> np.ndarray:
        """``[num_frames, 4, 4]`` float64 OpenGL camera-to-head matrices."""
        return np.stack([frame.camera_to_head for frame in self.frames])

    def tangents(self, pixels: np.ndarray) -> np.ndarray:
        """Where pixels ``[..., 2]`` lie on the image plane at distance 1: x to the right, y downwards, float64."""
        return (pixels.astype(np.float64) - np.array([self.cx, self.cy])) / np.array([self.fl_x, self.fl_y])

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels ``[..., 2]`` of points ``[..., 3]`` in a camera's OpenGL axes, in front of it."""
        depth = -points[..., 2]
        x, y = self.fl_x * points[..., 0] / depth, self.fl_y * points[..., 1] / depth
        return np.stack([self.cx + x, self.cy - y], axis=-1)

    @property
    def held_out(self) -> List[int]:
        """Positions of the frames that the dataset's own files keep for testing."""
        ids = set(self.held_out_ids)
        return [position for position, frame in enumerate(self.frames) if frame.img_id in ids]


@dataclass(frozen=True)
class Layout:
    """A way to arrange a dataset directory."""

    name: str
    """Name for ``--layout``."""
    looked_for: str
    """The files it is recognised by, in words."""
    matches: Callable[[Path], bool]
    """Whether a directory looks like this layout."""
    read: Callable[[Path], Clip]
    """Reads the directory."""
