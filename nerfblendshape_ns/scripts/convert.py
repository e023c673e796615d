"""``nbs-convert``: a dataset of another project's layout becomes one of this project's."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from nerfblendshape_ns.common.command import command
from nerfblendshape_ns.common.console import progress_bars, say
from nerfblendshape_ns.data.layout_names import LayoutName


@dataclass
class ConvertOptions:
    """Copy a dataset of any layout that training reads into this project's own layout."""

    source: tyro.conf.Positional[Path]
    """The dataset directory to read; it stays as it is."""
    target: tyro.conf.Positional[Path]
    """The directory to write: a new or an empty one, or an earlier result, which is replaced."""
    layout: LayoutName = "auto"
    """How the source is arranged; auto detects it."""


def run(options: ConvertOptions) -> None:
    """Convert with a progress bar, then say what came out.

    Raises:
        UserError: see :func:`nerfblendshape_ns.data.convert.convert`.
    """
    # OpenCV and torch take a second that --help need not wait for.
    from nerfblendshape_ns.data.convert import convert

    console = Console(stderr=True)
    with progress_bars(console) as bar:
        task = bar.add_task("frames", total=None)
        clip = convert(
            options.source,
            options.target,
            options.layout,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    for note in clip.notes:
        say(console, note)
    say(
        console,
        f"{options.target}: {len(clip.frames)} frames of {clip.width}x{clip.height} pixels, "
        f"{len(clip.expression_names)} coefficients ({clip.basis_id}), from the layout {clip.layout}",
    )
    say(console, f"next: ns-train nerfblendshape-head-small --data {shlex.quote(str(options.target))}")


main = command(ConvertOptions, "nbs-convert", run)

if __name__ == "__main__":
    main()
