"""Awkward videos, made of good ones."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Callable, Iterable, List, Optional

import av
import cv2
import numpy as np

from nerfblendshape_ns.common.video_writing import write_video
from nerfblendshape_ns.process_data.video.frames import decode
from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset


@dataclass
class Sources:
    """The good videos that variants are made of, each cut to the same length."""

    first: Path
    """The subject, square or portrait, still camera."""
    second: Path
    """Somebody else."""
    num_frames: int
    """Frames of each."""
    fps: float
    """Frames per second of each."""

    @property
    def seconds(self) -> float:
        """Length of each."""
        return self.num_frames / self.fps


def images_of(video: Path) -> List[np.ndarray]:
    """All images of a short video, uint8 RGB."""
    return [image for _, _, image in decode(video)]


def cut_source(clip: Path, output: Path, num_frames: int, fps: float, side: int) -> Path:
    """The first frames of a clip, scaled so that its shorter side is ``side``, without sound."""
    images, due = [], 0.0
    for _, seconds, image in decode(clip):
        while seconds + 1e-6 >= due and len(images) < num_frames:
            scale = side / min(image.shape[:2])
            images.append(resized(image, round(image.shape[1] * scale), round(image.shape[0] * scale)))
            due = len(images) / fps
        if len(images) == num_frames:
            break
    write_video(output, images, fps)
    return output


def resized(image: np.ndarray, width: int, height: Optional[int] = None) -> np.ndarray:
    """Scale to a size; without a height, in proportion and to an even one."""
    if height is None:
        height = 2 * round(width * image.shape[0] / image.shape[1] / 2)
    return cv2.resize(
        image, (width, height), interpolation=cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_CUBIC
    )


def cropped(image: np.ndarray, width: float, height: float, x: float = 0.5, y: float = 0.5) -> np.ndarray:
    """Cut out so large a fraction of the sides, to even pixels; ``x`` and ``y`` go from the left and top end to 1."""
    width, height = 2 * int(image.shape[1] * width / 2), 2 * int(image.shape[0] * height / 2)
    left, top = round((image.shape[1] - width) * x), round((image.shape[0] - height) * y)
    return image[top : top + height, left : left + width]


def pasted(image: np.ndarray, width: int, height: int, left: int, top: int, grey: int = 0) -> np.ndarray:
    """Put on a canvas of one grey."""
    canvas = np.full((height, width, 3), grey, np.uint8)
    canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    return canvas


def changed(change: Callable[[np.ndarray, float], np.ndarray], most: Optional[int] = None) -> Callable:
    """A variant made from the first source, image by image; ``change`` is given an image and its time in seconds."""

    def make(sources: Sources, path: Path) -> None:
        images = images_of(sources.first)[:most]
        write_video(path, (change(image, index / sources.fps) for index, image in enumerate(images)), sources.fps)

    return make


def small_in_1080p(image: np.ndarray, seconds: float) -> np.ndarray:
    """300 pixels high, off the middle of a grey 1920 x 1080."""
    small = resized(image, round(300 * image.shape[1] / image.shape[0]), 300)
    return pasted(small, 1920, 1080, 1210, 330, 128)


def letterboxed(image: np.ndarray, seconds: float) -> np.ndarray:
    """A wide image with black bars above and below."""
    wide = resized(cropped(image, 1.0, 0.8 * image.shape[1] / image.shape[0]), 500)
    return pasted(wide, 500, 500, 0, (500 - wide.shape[0]) // 2)


def portrait_4k(image: np.ndarray, seconds: float) -> np.ndarray:
    """2160 x 3840 pixels."""
    return resized(cropped(image, 9 / 16 * image.shape[0] / image.shape[1], 1.0), 2160, 3840)


def rotated(sources: Sources, path: Path) -> None:
    """Stored lying on its side, with a note that it is to be turned back, as phones do it."""
    write_video(path, (np.rot90(image) for image in images_of(sources.first)), sources.fps)
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40
    width = struct.unpack(">I", content[start + 40 : start + 44])[0]
    content[start : start + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, width, 0, 1 << 30)
    path.write_bytes(content)


def sixty(sources: Sources, path: Path) -> None:
    """Twice as fast, at 60 frames per second."""
    images = images_of(sources.first)
    index = np.arange(int(len(images) * 30 / sources.fps)) * sources.fps / 30
    write_video(path, (images[int(position)] for position in index), 60.0)


def variable_rate(sources: Sources, path: Path) -> None:
    """Two of five frames are missing, with the times of the others unchanged."""
    images = images_of(sources.first)
    kept = [index for index in range(len(images)) if index % 5 not in (2, 3)]
    encode(path, [images[index] for index in kept], sources.fps, kept)


def two_shots(sources: Sources, path: Path) -> None:
    """Half of the second source, then all of the first."""
    images = images_of(sources.second)[: max(4, sources.num_frames // 2)] + images_of(sources.first)
    write_video(path, (resized(image, 400, 400) for image in images), sources.fps)


def black_lead_in(sources: Sources, path: Path) -> None:
    """Eight black frames, then four that fade in."""
    images = images_of(sources.first)
    light = np.clip(np.arange(-8, len(images)) / 4, 0.0, 1.0)
    images = [images[0]] * 8 + images
    write_video(path, ((image * factor).astype(np.uint8) for image, factor in zip(images, light)), sources.fps)


def two_faces(sources: Sources, path: Path) -> None:
    """The second source, smaller, to the left of the first."""

    def square(image: np.ndarray, side: int) -> np.ndarray:
        image = resized(image, side)
        top = (image.shape[0] - side) // 2
        return image[top : top + side]

    pairs = zip(images_of(sources.second), images_of(sources.first))
    both = (np.hstack([pasted(square(a, 360), 400, 512, 20, 120, 128), square(b, 512)]) for a, b in pairs)
    write_video(path, both, sources.fps)


def odd_size_with_sound(sources: Sources, path: Path) -> None:
    """An odd number of pixels along each side, and a tone."""
    images = [resized(image, 333, 333)[:321] for image in images_of(sources.first)]
    encode(path, images, sources.fps, range(len(images)), "yuv444p", has_tone=True)


def encode(
    path: Path,
    images: List[np.ndarray],
    fps: float,
    times: Iterable[int],
    pixels: str = "yuv420p",
    has_tone: bool = False,
) -> None:
    """Write what the package's own writer never does: images at uneven times (in frames), full colour resolution."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=Fraction(fps), options={"crf": "18"})
        video.height, video.width = images[0].shape[:2]
        video.pix_fmt = pixels
        audio = output.add_stream("aac", rate=16_000, layout="mono") if has_tone else None
        for image, time in zip(images, times):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = time, 1 / Fraction(fps)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        if audio is not None:
            samples = 0.5 * np.sin(2 * np.pi * 440 / 16_000 * np.arange(round(16_000 * len(images) / fps)))
            sound = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), "fltp", "mono")
            sound.sample_rate, sound.pts, sound.time_base = 16_000, 0, Fraction(1, 16_000)
            output.mux(audio.encode(sound))
            output.mux(audio.encode(None))


def synthetic_sources(folder: Path, num_frames: int = 75, fps: float = 25.0, side: int = 512) -> Sources:
    """Two synthetic heads."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "first.mp4", folder / "second.mp4"]
    for seed, path in enumerate(paths):
        settings = ClipSettings(num_frames=num_frames, width=side, height=side, fps=fps, samples=1, seed=seed)
        if not path.exists():
            write_dataset(settings, None, path)
    return Sources(paths[0], paths[1], num_frames, fps)
