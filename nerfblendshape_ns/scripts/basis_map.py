"""``nbs-basis-map``: from one basis of coefficients to another and back, learned from a clip with both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
import tyro
from rich.console import Console

from nerfblendshape_ns.common.command import command
from nerfblendshape_ns.common.console import say


@dataclass
class BasisMapOptions:
    """Fit maps between two bases of coefficients (such as FLAME's and ARKit's) to two tracks of the same video."""

    first: tyro.conf.Positional[Path]
    """Coefficients of a video: a file or folder as for nbs-drive --by, or a dataset of nbs-process-data."""
    second: tyro.conf.Positional[Path]
    """Coefficients of the same video in another basis."""
    output: Path = Path("map.npz")
    """The file to write."""
    overwrite: bool = False
    """Replace the file if it exists."""
    offset: float = 0.0
    """Seconds of the video at which the second track begins, after the first does."""
    first_fps: Optional[float] = None
    """Rows per second of the first track; overrides its clock."""
    second_fps: Optional[float] = None
    """Rows per second of the second track."""


def run(options: BasisMapOptions) -> None:
    """Fit, say how well either basis follows from the other, and write the maps.

    Raises:
        UserError: a track cannot be read, or the two do not fit together.
    """
    from nerfblendshape_ns.common.output_paths import check_file
    from nerfblendshape_ns.expressions.basis_map import fit_maps, save_maps
    from nerfblendshape_ns.expressions.tracks import read_expression_track

    check_file(options.output, options.overwrite, [options.first, options.second])
    first = read_expression_track(options.first, options.first_fps)
    second = read_expression_track(options.second, options.second_fps)
    maps, console = fit_maps(first, second, options.offset), Console(stderr=True)
    for track, each in zip((first, second), maps):
        worst = [each.target_names[index] for index in np.argsort(each.explained) if each.high[index] > each.low[index]]
        say(
            console,
            f"{track.basis_id} ({len(each.names)}) to {each.target_basis} ({len(each.target_names)}): "
            f"{100 * (1 - each.error):.0f} % of the variance in stretches left out; least of {', '.join(worst[:3])}",
        )
    save_maps(options.output, maps)
    say(console, f"{options.output}: drive with nbs-drive AVATAR --by TRACK --map {options.output}")


main = command(BasisMapOptions, "nbs-basis-map", run)

if __name__ == "__main__":
    main()
