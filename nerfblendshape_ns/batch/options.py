"""The options of ``nbs-batch``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Tuple

import tyro

from nerfblendshape_ns.common.errors import UserError


@dataclass
class BatchOptions:
    """Makes an avatar of every clip: dataset, training, evaluation and avatar file, each clip in a process of its own.

    The same command again continues: clips that are done stay as they are, those that failed are tried again.
    """

    clips: tyro.conf.Positional[Tuple[Path, ...]]
    """The videos; each becomes a folder of its name."""
    recipe: Path
    """What is done with each clip: a recipe that is made from a video, such as configs/clip.yaml."""
    output: Path
    """Folder of the results: a new or an empty one, or that of an earlier batch."""
    jobs: Optional[int] = None
    """Clips at a time; as many as --devices, or 1, if left out."""
    devices: Optional[str] = None
    """GPUs by number, such as 0,1: each job sees one of them. Without it a job sees all and uses the first."""
    scheduler: Optional[str] = None
    """Let the workers of a Dask cluster do the work: address of its scheduler, such as tcp://127.0.0.1:8786, or its
    scheduler file."""
    consent: str = ""
    """What all these people agreed to, and where that is recorded; the avatar files state it."""

    def check(self) -> None:
        """Raise a UserError for values that no batch can use."""
        if sys.platform == "win32":
            raise UserError("nbs-batch needs Linux or macOS; on Windows run it in WSL.")
        if not self.clips:
            raise UserError("no clip is given; give at least one video file.")
        if self.jobs is not None and self.jobs < 1:
            raise UserError(f"--jobs {self.jobs} does nothing; give 1 or more.")
        if self.scheduler is not None and (self.jobs is not None or self.devices is not None):
            raise UserError("with --scheduler each worker has its own device; leave --jobs and --devices out.")
        if self.devices is not None and "" in self.device_list:
            raise UserError(f"--devices {self.devices!r} is no list of GPUs; give numbers with commas, such as 0,1.")

    @property
    def device_list(self) -> Tuple[str, ...]:
        """The GPUs, as CUDA_VISIBLE_DEVICES names them; none where none are given."""
        return () if self.devices is None else tuple(part.strip() for part in self.devices.split(","))
