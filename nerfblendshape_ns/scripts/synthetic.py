"""``nbs-synthetic``: write a dataset, a video, or both, of a procedural talking head."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Tuple

from rich.console import Console

from nerfblendshape_ns.common.command import command
from nerfblendshape_ns.common.console import progress_bars, say


@dataclass
class SyntheticOptions:
    """Render a talking head that needs no video: exact poses, labels, landmarks and coefficients."""

    output: Optional[Path] = None
    """Dataset directory to write: a new or an empty one, or an earlier result, which is replaced."""
    video: Optional[Path] = None
    """Also (or only) write the frames as this H.264 mp4, for instance to track it like a real clip."""
    num_frames: int = 200
    """Number of frames."""
    size: Tuple[int, int] = (128, 128)
    """Width and height of the images in pixels."""
    fps: float = 25.0
    """Frames per second."""
    seed: int = 0
    """Decides the person, the room and the motion; the same seed gives the same files."""
    samples: int = 2
    """Rays per pixel along each axis; 2 means four rays per pixel."""
    overwrite: bool = False
    """Replace the video if it exists."""


def run(options: SyntheticOptions) -> None:
    """Render and write what the options ask for, with a progress bar.

    Raises:
        UserError: see :func:`nerfblendshape_ns.synthetic.dataset.write_dataset`.
    """
    # Warp and SciPy take a second that --help need not wait for.
    from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset

    console = Console(stderr=True)
    settings = ClipSettings(
        num_frames=options.num_frames,
        width=options.size[0],
        height=options.size[1],
        fps=options.fps,
        seed=options.seed,
        samples=options.samples,
    )
    with progress_bars(console) as bar:
        task = bar.add_task("frames", total=settings.num_frames)
        write_dataset(settings, options.output, options.video, lambda _: bar.advance(task), options.overwrite)
    for what, path in (("dataset", options.output), ("video", options.video)):
        if path is not None:
            say(console, f"{what}: {path}")


main = command(SyntheticOptions, "nbs-synthetic", run)

if __name__ == "__main__":
    main()
