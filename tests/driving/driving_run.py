"""Drives of the small untrained run."""

from dataclasses import replace
from pathlib import Path

import cv2
from rich.console import Console

from nerfblendshape_ns.avatar.avatar import open_avatar
from nerfblendshape_ns.common.file_io import load_image
from nerfblendshape_ns.driving.options import DriveOptions
from nerfblendshape_ns.driving.plan import plan_drive

NUM_FRAMES = 20
QUIET = Console(quiet=True)


def options(run, output, **changes) -> DriveOptions:
    return replace(DriveOptions(avatar=run, output=output, size=16), **changes)


def plan(run, tmp_path, **changes):
    chosen = options(run, tmp_path / "frames", **changes)
    return plan_drive(chosen, open_avatar(run), QUIET)


def images(folder: Path) -> list:
    return [load_image(path, cv2.IMREAD_UNCHANGED) for path in sorted(folder.glob("*.png"))]
