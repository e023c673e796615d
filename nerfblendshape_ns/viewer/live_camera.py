"""A camera, or a video that stands in for one, as a live source: the newest image is tracked, others are left out."""

from __future__ import annotations

import threading
import time
from collections import deque
from pathlib import Path
from typing import Callable, Deque, Iterator, List, Optional, Tuple

import cv2
import numpy as np

from nerfblendshape_ns.coefficient_names.arkit import MEDIAPIPE_NAMES
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.rate import Rate
from nerfblendshape_ns.expressions.live.frame import LiveFrame
from nerfblendshape_ns.process_data.face.canonical_face import RIGID_LANDMARKS, mirror_permutation, read_canonical_face
from nerfblendshape_ns.process_data.face.face_landmarker import Face, FaceLandmarker
from nerfblendshape_ns.process_data.face.face_track import mirrored_back
from nerfblendshape_ns.process_data.networks.model_files import LANDMARKER
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.pose.pose_geometry import FRONTAL, Intrinsics
from nerfblendshape_ns.process_data.video.frames import decode, probe_video

LONGEST_WAIT = 2.0
"""Seconds that stopping waits for a camera's image."""
LONGEST_SIDE = 640
"""Larger images are halved until they are no larger: the tracker sees a face in 256 pixels."""
REST = 2.0
"""Times as long as tracking an image takes, tracking rests: rendering needs the cores, and fewer images a second."""


class LiveTracker:
    """Finds the face in successive images: coefficients and head turn.

    Images are tracked plain and mirrored in turn, and each result is the mean of the last two: data preparation tracks
    every image both ways, which takes the network's bias to one side away, and twice as long.

    Args:
        model: the Face Landmarker.
    """

    def __init__(self, model: Path) -> None:
        face = read_canonical_face(model)
        self._mirror = mirror_permutation(face)
        self._shape = np.ascontiguousarray(face[RIGID_LANDMARKS], dtype=np.float64)
        self._detectors = tuple(FaceLandmarker(model, video=True) for _ in range(2))
        self._last: Optional[Face] = None
        self._is_mirrored = False

    def __call__(self, image: np.ndarray, milliseconds: int) -> Optional[LiveFrame]:
        """Track the next image.

        Args:
            image: uint8 RGB ``[height, width, 3]``.
            milliseconds: its time; grows from image to image.

        Returns:
            None where no face is seen.
        """
        self._is_mirrored = not self._is_mirrored
        seen = cv2.flip(image, 1) if self._is_mirrored else image
        found = self._detectors[self._is_mirrored](seen, milliseconds)
        if not found:
            self._last = None
            return None
        face = mirrored_back(found[0], image.shape[1], self._mirror) if self._is_mirrored else found[0]
        both, self._last = (face, self._last or face), face
        coefficients = np.mean([one.coefficients for one in both], axis=0)
        landmarks = np.mean([one.landmarks for one in both], axis=0)
        named = {name: float(value) for name, value in zip(MEDIAPIPE_NAMES[1:], coefficients[1:])}
        return LiveFrame(named, self._turn(landmarks, *image.shape[:2]), "camera")

    def _turn(self, landmarks: np.ndarray, height: int, width: int) -> Optional[np.ndarray]:
        """The head's turn in the image's axes, by Perspective-n-Point on the reference face."""
        camera = Intrinsics(ProcessOptions.focal * min(height, width), width / 2, height / 2).matrix()
        points = np.ascontiguousarray(landmarks[RIGID_LANDMARKS, :2], dtype=np.float64)
        try:
            _, vector, _ = cv2.solvePnP(self._shape, points, camera, np.zeros(5), flags=cv2.SOLVEPNP_SQPNP)
        except cv2.error:
            return None
        turn = FRONTAL @ cv2.Rodrigues(vector)[0]
        return turn if np.isfinite(turn).all() else None


def camera_images(source: str) -> Iterator[np.ndarray]:
    """Images of a camera as they come, uint8 RGB; of a video file at its own pace, again and again.

    Args:
        source: number of a camera of this machine, or a file.

    Raises:
        UserError: there is no such camera or video, or the camera gives no image.
    """
    if not source.isdecimal():
        while True:
            started = time.monotonic()
            for _, seconds, image in decode(Path(source)):
                time.sleep(max(0.0, started + seconds - time.monotonic()))
                yield image
    capture = cv2.VideoCapture(min(int(source), 2**31 - 1))  # A larger number is no C int.
    try:
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        while True:
            seen, image = capture.read()
            if not seen:
                raise UserError(
                    f"Camera {source} gives no image; connect it, close other programs that use it, or choose another "
                    "number (0 is the first)."
                )
            yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


class CameraSource:
    """Tracks a camera in threads of its own and hands the frames on.

    Args:
        source: number of a camera, or a video file that stands in for one.
        receive: called in the tracking thread with each frame with a face, and the time (``time.monotonic``) at which
            its image came.
    """

    def __init__(self, source: str, receive: Callable[[LiveFrame, float], None]) -> None:
        self._source, self._receive = source, receive
        self._newest: Optional[Tuple[float, np.ndarray]] = None
        self._arrived = threading.Condition()
        self._running = False
        self.faces = Rate()
        """Of frames with a face."""
        self._times: Deque[Tuple[float, float]] = deque(maxlen=30)
        self.problem = ""
        """Why it ended by itself; empty while it has not."""
        self._threads: List[threading.Thread] = []

    def start(self) -> None:
        """Open the camera and begin to track.

        Raises:
            UserError: there is no such camera or video, or the tracking model cannot be had.
        """
        if not self._source.isdecimal():
            probe_video(Path(self._source))
        tracker = LiveTracker(LANDMARKER.find())
        images = camera_images(self._source)
        first = next(images)
        self._running = True
        for run, arguments in ((self._read, (images, first)), (self._track, (tracker,))):
            thread = threading.Thread(target=run, args=arguments, name=f"nbs-camera{run.__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Let the threads end and the camera go, so that it can be opened again."""
        self._running = False
        with self._arrived:
            self._arrived.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(LONGEST_WAIT)

    def status(self) -> str:
        """One line for the user."""
        if self.problem:
            return self.problem
        name = f"Camera {self._source}" if self._source.isdecimal() else Path(self._source).name
        times = tuple(self._times)
        # A slow machine rests for up to a second, and the next image takes about as long as the last.
        if not times or time.monotonic() - times[-1][0] > LONGEST_WAIT / 2 + 2 * (times[-1][0] - times[-1][1]):
            return f"{name}: no face is seen."
        milliseconds = 1000 * float(np.median([done - came for done, came in times]))
        return f"{name}: {self.faces.per_second():.0f} frames per second tracked, each in {milliseconds:.0f} ms."

    def _read(self, images: Iterator[np.ndarray], image: np.ndarray) -> None:
        try:
            while self._running:
                with self._arrived:
                    self._newest = time.monotonic(), image
                    self._arrived.notify()
                image = next(images)
        except Exception as error:  # Nobody waits for this thread: the status line tells.
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        told = str(error) if isinstance(error, UserError) else f"The camera stopped: {type(error).__name__}: {error}."
        self.problem = told
        self.stop()

    def _track(self, tracker: LiveTracker) -> None:
        try:
            self._follow(tracker)
        except Exception as error:
            self._fail(error)

    def _follow(self, tracker: LiveTracker) -> None:
        began, last = time.monotonic(), -1
        while self._running:
            with self._arrived:
                self._arrived.wait_for(lambda: self._newest is not None or not self._running)
                newest, self._newest = self._newest, None
            if newest is None:
                return
            came, image = newest
            started = time.monotonic()
            while max(image.shape) > LONGEST_SIDE:
                image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
            last = max(last + 1, int(1000 * (came - began)))
            frame = tracker(image, last)
            if frame is not None and self._running:
                self.faces.happened()
                self._times.append((time.monotonic(), came))
                self._receive(frame, came)
            time.sleep(min(REST * (time.monotonic() - started), LONGEST_WAIT / 2))
