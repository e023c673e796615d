"""``nbs-sweep``: what each coefficient of a trained head does, and which ones it never learnt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import tyro
from rich.console import Console

from nerfblendshape_ns.common.command import command
from nerfblendshape_ns.common.console import progress_bars, say
from nerfblendshape_ns.common.errors import UserError

FPS = 25.0
"""Frames per second of the video."""
LONGEST_SECONDS = 60.0
"""Of a coefficient in the video."""


@dataclass
class SweepOptions:
    """Move each coefficient from its training minimum to its maximum: a sheet, a video, heat maps and a table."""

    run: tyro.conf.Positional[Path]
    """A run's directory, its config.yml, a checkpoint, or a file that nbs-export wrote."""
    output: Path = Path("sweep")
    """Folder for sweep.png, sweep.mp4, sweep.txt and sweep.json: a new or an empty one, or an earlier result, which is
    replaced."""
    size: Optional[int] = None
    """Longer side of the rendered images in pixels; that of the training images if left out."""
    threshold: float = 4.0
    """A coefficient counts as not learnt if it changes the image by less than this many of 255 levels (mean over the
    pixels that change most, as many as 2 % of the head's)."""
    seconds: float = 1.0
    """Time in the video from neutral to an end of the range and back; 0 writes no video."""


def run(options: SweepOptions, console: Console) -> None:
    """Render the sweep and write what belongs to it.

    Raises:
        UserError: the run cannot be opened, the output must not be written, or an option is out of range.
    """
    if options.size is not None and not 8 <= options.size <= 4096:
        raise UserError(f"--size is {options.size} but must be from 8 to 4096 pixels.")
    if not 0 <= options.seconds <= LONGEST_SECONDS:
        raise UserError(
            f"--seconds is {options.seconds:g} but must be from 0, which writes no video, to {LONGEST_SECONDS:g}."
        )
    if not 0 <= options.threshold <= 255:
        raise UserError(f"--threshold is {options.threshold:g} but must be from 0 to 255 levels.")
    # Imports nerfstudio whole, which takes seconds.
    from nerfblendshape_ns.avatar.avatar import open_avatar
    from nerfblendshape_ns.avatar.sweep import as_document, as_text, sweep_avatar
    from nerfblendshape_ns.avatar.sweep_pictures import write_sweep_sheet, write_sweep_video
    from nerfblendshape_ns.common.file_io import save_json, save_text
    from nerfblendshape_ns.common.output_folders import replaced_folder
    from nerfblendshape_ns.common.output_paths import files_among

    inputs = files_among([options.run])
    with replaced_folder(options.output, "nbs-sweep", inputs) as folder, progress_bars(console) as bar:
        avatar = open_avatar(options.run)
        task = bar.add_task("coefficients", total=len(avatar.names))
        sweep = sweep_avatar(avatar, options.size, options.threshold, lambda: bar.advance(task))
        write_sweep_sheet(folder / "sweep.png", sweep)
        about = {"avatar": str(avatar.path), "kind": avatar.kind, "step": avatar.step, "basis": avatar.basis_id}
        save_json(folder / "sweep.json", {**about, **as_document(sweep)})
        save_text(folder / "sweep.txt", as_text(sweep))
        if options.seconds > 0:
            task = bar.add_task("Video", total=len(avatar.names))
            video = folder / "sweep.mp4"
            frames = max(2, round(options.seconds * FPS))
            write_sweep_video(video, avatar, sweep, frames, options.size, FPS, lambda: bar.advance(task))
    print(as_text(sweep))
    say(console, f"{'sheet, video' if options.seconds else 'sheet'} and tables: {options.output}")


main = command(SweepOptions, "nbs-sweep", lambda options: run(options, Console(stderr=True)))

if __name__ == "__main__":
    main()
