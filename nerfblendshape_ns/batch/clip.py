"""The process of one clip: its recipe, then its avatar file.

python -m nerfblendshape_ns.batch.clip --recipe RECIPE --video VIDEO --output FOLDER
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from nerfblendshape_ns.batch.plan import RESULTS
from nerfblendshape_ns.common.command import command
from nerfblendshape_ns.common.console import say
from nerfblendshape_ns.common.file_io import save_json

ROWS, METRICS = ("head", "mask", "whole"), ("psnr", "ssim", "lpips")
"""The figures of the test frames that the results have."""


@dataclass
class ClipOptions:
    """Makes the avatar of one clip of a batch."""

    recipe: Path
    """The recipe."""
    video: Path
    """The clip."""
    output: Path
    """The clip's folder."""
    consent: str = ""
    """What the person agreed to."""


def make_clip(options: ClipOptions) -> None:
    """Run the recipe, write the avatar file, and say in :data:`RESULTS` what came out.

    Raises:
        UserError: the recipe or the clip is bad.
    """
    from nerfblendshape_ns.avatar.avatar import open_avatar
    from nerfblendshape_ns.avatar.avatar_file import SUFFIX, Provenance
    from nerfblendshape_ns.avatar.export import export_avatar
    from nerfblendshape_ns.recipes.options import RecipeOptions
    from nerfblendshape_ns.recipes.run import run_recipe

    console, name = Console(), options.output.name
    outcome = run_recipe(RecipeOptions(options.recipe, output=options.output, video=options.video), console)
    console.rule(f"{outcome.name}: avatar file")
    avatar = options.output / f"{name}{SUFFIX}"
    stated = Provenance(person=name, consent=options.consent, source=options.video.name)
    export_avatar(open_avatar(outcome.config.parent, "cpu"), avatar, stated)
    say(console, f"avatar: {avatar}")
    rows = outcome.figures["splits"]["test"]["rows"]
    means = {row: {metric: rows[row].get(metric, {}).get("mean") for metric in METRICS} for row in ROWS if row in rows}
    paths = {"picture": outcome.sheets[0], "report": outcome.report, "avatar": avatar}
    results = {
        "figures": means,
        "frames": sum(outcome.figures["run"]["split_sizes"].values()),
        "avatar_mb": round(avatar.stat().st_size / 1e6, 1),
        **{key: Path(os.path.relpath(path, options.output)).as_posix() for key, path in paths.items()},
    }
    save_json(options.output / RESULTS, results)


main = command(ClipOptions, "nerfblendshape_ns.batch.clip", make_clip)

if __name__ == "__main__":
    main()
