"""Decoded frames to upright 8-bit RGB with square pixels.

Most frames are converted directly. Those of HDR and interlaced videos, with pixels that are not square, or of another
size than the first go through FFmpeg's filters, one picture for each frame.
"""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import Deque, Iterator, NamedTuple, Optional, Tuple

import av
import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

CONVERTIBLE = (0, 1, 2, 4, 5, 6, 7, 9)
"""FFmpeg's numbers of the colour matrices that it can convert to RGB."""
UNSPECIFIED = 2
"""What images with any other matrix are taken for: files state the rare ones by mistake more often than not."""
HDR = (16, 18)
"""FFmpeg's numbers of the transfer functions PQ and HLG."""
BT_2020, PRIMARIES = 9, (1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 22)
"""FFmpeg's numbers of HDR's primaries, and of all that it can convert."""
TO_SDR = ":out_transfer=iec61966-2-1:out_primaries=bt709:intent=relative_colorimetric"
"""HDR as sRGB: a sheet of white paper is white, and so is what is brighter, such as lamps and glints."""
LEAST_STRETCH, MOST_STRETCH = 0.02, 3.0
"""A pixel's width over its height that is nearer to 1 than this comes of rounding; one farther off is a mistake."""

Tag = Tuple[int, float]
"""A frame's number and seconds."""


def pixel_aspect(stream: VideoStream) -> float:
    """A pixel's width over its height as a video states it, 1 where it says nothing that can be."""
    aspect = float(stream.sample_aspect_ratio or 1)
    return aspect if 1 / MOST_STRETCH <= aspect <= MOST_STRETCH and abs(aspect - 1) > LEAST_STRETCH else 1.0


def square_size(frame: VideoFrame, aspect: float) -> Tuple[int, int]:
    """Width and height of a frame's picture with square pixels, not yet upright."""
    return max(1, round(frame.width * aspect)), frame.height


class Orientation(NamedTuple):
    """How a stored picture becomes upright: rows and columns change places, then it is mirrored."""

    transposed: bool
    mirrored_x: bool
    mirrored_y: bool

    def upright(self, image: np.ndarray) -> np.ndarray:
        """An image ``[height, width, 3]`` as it is to be seen."""
        image = image.transpose(1, 0, 2) if self.transposed else image
        return np.ascontiguousarray(image[:: -1 if self.mirrored_y else 1, :: -1 if self.mirrored_x else 1])


def orientation(frame: VideoFrame) -> Orientation:
    """What a video states of a frame's orientation, to quarters of a turn; cameras that face the user mirror too."""
    stated = frame.side_data.get("DISPLAYMATRIX")
    if stated is None:
        return Orientation(False, False, False)
    (x_of_x, y_of_x, _), (x_of_y, y_of_y, _), _ = np.frombuffer(bytes(stated), np.int32).reshape(3, 3).tolist()
    if abs(x_of_x) + abs(y_of_y) >= abs(x_of_y) + abs(y_of_x):
        return Orientation(False, x_of_x < 0, y_of_y < 0)
    return Orientation(True, x_of_y < 0, y_of_x < 0)


class FrameConverter:
    """Converts the frames of one video in their order.

    Args:
        aspect: a pixel's width over its height.
    """

    def __init__(self, aspect: float) -> None:
        self._aspect = aspect
        self._size: Optional[Tuple[int, int]] = None
        self._graph: Optional[Graph] = None
        self._kind: Optional[Tuple[object, ...]] = None
        self._is_interlaced = False
        self._waiting: Deque[Tuple[Tag, Orientation]] = deque()

    def add(self, frame: VideoFrame, tag: Tag) -> Iterator[Tuple[int, float, np.ndarray]]:
        """Take the next frame.

        Yields:
            Number, seconds and upright RGB, uint8 ``[height, width, 3]``, of this frame or of the one before: whether a
            line of an interlaced frame is in motion only the next frame tells.
        """
        if frame.colorspace not in CONVERTIBLE:
            frame.colorspace = UNSPECIFIED
        is_hdr = frame.color_trc in HDR
        # What the filters do not know they refuse, and files state it by mistake.
        if not is_hdr:
            frame.color_trc = frame.color_primaries = UNSPECIFIED
        elif frame.color_primaries not in PRIMARIES:
            frame.color_primaries = BT_2020
        self._size = self._size or square_size(frame, self._aspect)
        self._is_interlaced |= frame.interlaced_frame
        if self._graph is None and not is_hdr and not self._is_interlaced:
            if self._size == (frame.width, frame.height):
                yield (*tag, orientation(frame).upright(frame.to_ndarray(format="rgb24", interpolation="BICUBIC")))
                return
        kind = frame.width, frame.height, frame.format.name, is_hdr, self._is_interlaced
        if kind != self._kind:
            yield from self.rest()
            self._graph, self._kind = self._filters(frame, is_hdr), kind
        assert self._graph is not None
        self._waiting.append((tag, orientation(frame)))
        self._graph.push(frame)
        yield from self._converted()

    def rest(self) -> Iterator[Tuple[int, float, np.ndarray]]:
        """What of the frames taken has not come out yet."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._converted()
        self._graph = self._kind = None

    def _filters(self, frame: VideoFrame, is_hdr: bool) -> Graph:
        assert self._size is not None
        graph = Graph()
        width, height = self._size
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 25)
        )
        deinterlace = [graph.add("bwdif", "mode=send_frame:deint=interlaced")] if self._is_interlaced else []
        scale = graph.add("scale", f"{width}:{height}:flags=bicubic" + (TO_SDR if is_hdr else ""))
        chain = source, *deinterlace, scale, graph.add("format", "pix_fmts=rgb24"), graph.add("buffersink")
        graph.link_nodes(*chain).configure()
        return graph

    def _converted(self) -> Iterator[Tuple[int, float, np.ndarray]]:
        assert self._graph is not None
        while self._waiting:
            try:
                picture = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            assert isinstance(picture, VideoFrame)
            tag, stored = self._waiting.popleft()
            yield (*tag, stored.upright(picture.to_ndarray()))
