"""Frames to H.264 with ffmpeg, and the sound that belongs to them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import write_atomically
from nerfblendshape_ns.common.frame_store import PATTERN
from nerfblendshape_ns.common.media import PLAIN_MEDIA


@dataclass(frozen=True)
class Sound:
    """A stretch of a file's sound."""

    path: Path
    """A video or audio file with sound in it."""
    start: float
    """Seconds into the file at which the first frame is seen."""


def require_ffmpeg() -> str:
    """Path of ffmpeg.

    Raises:
        UserError: it is not installed.
    """
    found = shutil.which("ffmpeg")
    if found is None:
        raise UserError("ffmpeg, which writes the video, is not installed; install it, or give --output a folder.")
    return found


def has_sound(path: Path) -> bool:
    """Whether a file has an audio stream that ffmpeg can read."""
    # ffmpeg without an output tells the streams and exits with an error; ffprobe is not installed everywhere.
    told = subprocess.run(
        [require_ffmpeg(), "-hide_banner", "-nostdin", *_plain_input(path)],
        capture_output=True,
        text=True,
        errors="replace",
    ).stderr
    return re.search(r"^\s*Stream #.*: Audio:", told, flags=re.MULTILINE) is not None


def _plain_input(path: Path) -> List[str]:
    """ffmpeg's words for a file that is sound or video itself; its name is never taken for an address."""
    limits = [word for name, value in PLAIN_MEDIA.items() for word in (f"-{name}", value)]
    return [*limits, "-i", f"file:{path.resolve()}"]


def encode(frames: Path, num_frames: int, fps: float, output: Path, sound: Optional[Sound] = None) -> None:
    """Write an mp4 from numbered PNG frames.

    Args:
        frames: folder of ``000000.png`` and so on.
        num_frames: how many.
        fps: frames a second.
        output: the file; an existing one is replaced when the new one is whole.
        sound: muxed in as AAC, cut to the video's length.

    Raises:
        UserError: ffmpeg is missing or fails.
    """
    rate, seconds = f"{fps:.6f}", f"{num_frames / fps:.6f}"
    command: List[str] = [require_ffmpeg(), "-hide_banner", "-nostdin", "-loglevel", "error", "-y"]
    # The folder is where ffmpeg runs, since it takes a % in its name for a part of the pattern.
    command += ["-protocol_whitelist", "file,pipe", "-framerate", rate, "-i", PATTERN]
    if sound is not None:
        command += ["-ss", f"{max(sound.start, 0.0):.6f}", "-t", seconds, *_plain_input(sound.path)]
        command += ["-map", "0:v:0", "-map", "1:a:0", "-c:a", "aac", "-b:a", "160k"]
    # yuv420p, which every player knows, halves the colour planes: sides must be even.
    command += ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-c:v", "libx264", "-crf", "16", "-pix_fmt", "yuv420p"]
    # No -frames:v: ffmpeg would end the file at the last picture, before it has written the sound.
    command += ["-movflags", "+faststart"]

    def write(temporary: Path) -> None:
        # Absolute, since ffmpeg takes a name such as take:1.mp4 for a protocol.
        words = [*command, os.path.abspath(temporary)]
        done = subprocess.run(words, cwd=frames, capture_output=True, text=True, errors="replace")
        if done.returncode:
            reason = " ".join(done.stderr.split())[-300:]
            raise UserError(f"ffmpeg could not write {output} ({reason}); check the disk and the audio file.")

    write_atomically(output, write)
