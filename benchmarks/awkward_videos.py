"""Awkward videos, made of good ones with ffmpeg."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from nerfblendshape_ns.common.errors import UserError
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
    """Frames a second of each."""

    @property
    def seconds(self) -> float:
        """Length of each."""
        return self.num_frames / self.fps


def ffmpeg(*words: Any) -> None:
    """Run ffmpeg quietly."""
    command = ["ffmpeg", "-v", "error", "-y", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"ffmpeg failed ({done.stderr.strip()[-300:]}); command: {' '.join(command)}.")


ENCODE = ("-c:v", "libx264", "-crf", "18", "-preset", "veryfast", "-pix_fmt", "yuv420p")


def cut_source(clip: Path, output: Path, num_frames: int, fps: float, side: int) -> Path:
    """The first frames of a clip, scaled so that its shorter side is ``side``, without sound."""
    scale = f"scale='if(gt(iw,ih),-2,{side})':'if(gt(iw,ih),{side},-2)',fps={fps:g}"
    ffmpeg("-i", clip, "-vf", scale, "-frames:v", num_frames, "-an", *ENCODE, output)
    return output


def filtered(graph: str, *output_words: Any) -> Callable[[Sources, Path], None]:
    """A variant made from the first source by one filter chain."""

    def make(sources: Sources, path: Path) -> None:
        words = [word.format(**vars(sources)) if isinstance(word, str) else word for word in output_words]
        ffmpeg("-i", sources.first, "-vf", graph, *words, "-an", *ENCODE, path)

    return make


def rotated(sources: Sources, path: Path) -> None:
    """Stored lying on its side, with a note that it is to be turned back, as phones do it."""
    lying = path.with_name(f"{path.stem}_lying.mp4")
    ffmpeg("-i", sources.first, "-vf", "transpose=2", "-an", *ENCODE, lying)
    ffmpeg("-i", lying, "-c", "copy", "-metadata:s:v:0", "rotate=270", path)
    lying.unlink()


def variable_rate(sources: Sources, path: Path) -> None:
    """Two of five frames are missing, with the times of the others unchanged."""
    ffmpeg("-i", sources.first, "-vf", "select='not(eq(mod(n,5),2)+eq(mod(n,5),3))'", "-vsync", "vfr", "-an",
           *ENCODE, path)  # fmt: skip


def two_shots(sources: Sources, path: Path) -> None:
    """Half of the second source, then all of the first."""
    both = "[1:v]trim=end_frame={short},scale=400:400,setsar=1[a];[0:v]scale=400:400,setsar=1[b];[a][b]concat=n=2"
    short = max(4, sources.num_frames // 2)
    ffmpeg("-i", sources.first, "-i", sources.second, "-filter_complex", both.format(short=short), "-an", *ENCODE, path)


def black_lead_in(sources: Sources, path: Path) -> None:
    """Eight black frames, then four that fade in."""
    fade, black = 4 / sources.fps, 8 / sources.fps
    graph = f"fade=in:st=0:d={fade},tpad=start_duration={black}:color=black"
    ffmpeg("-i", sources.first, "-vf", graph, "-an", *ENCODE, path)


def two_faces(sources: Sources, path: Path) -> None:
    """The second source, smaller, to the left of the first."""
    graph = (
        "[0:v]scale=512:-2,crop=512:512,setsar=1[a];[1:v]scale=360:-2,crop=360:360,pad=400:512:20:120:gray,setsar=1[b];"
        "[b][a]hstack"
    )
    ffmpeg("-i", sources.first, "-i", sources.second, "-filter_complex", graph, "-an", *ENCODE, path)


def odd_size_with_sound(sources: Sources, path: Path) -> None:
    """An odd number of pixels along each side, and a tone."""
    sound = f"sine=frequency=440:duration={sources.seconds}"
    graph = "scale=333:-1,crop=333:321:0:0,format=yuv444p"
    video = ("-c:v", "libx264", "-crf", "18", "-preset", "veryfast")
    ffmpeg("-i", sources.first, "-f", "lavfi", "-i", sound, "-shortest", "-vf", graph, *video, "-c:a", "aac", path)


def synthetic_sources(folder: Path, num_frames: int = 75, fps: float = 25.0, side: int = 512) -> Sources:
    """Two synthetic heads."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "first.mp4", folder / "second.mp4"]
    for seed, path in enumerate(paths):
        settings = ClipSettings(num_frames=num_frames, width=side, height=side, fps=fps, samples=1, seed=seed)
        if not path.exists():
            write_dataset(settings, None, path)
    return Sources(paths[0], paths[1], num_frames, fps)
