"""Runs a batch: plans the clips, lets an engine make them, and shows where they stand."""

from __future__ import annotations

import time
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from typing import Dict, List, Optional, Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table

from nerfblendshape_ns.batch.engines import run_here, run_on_cluster
from nerfblendshape_ns.batch.job import is_done
from nerfblendshape_ns.batch.options import BatchOptions
from nerfblendshape_ns.batch.page import PAGE, batch_page
from nerfblendshape_ns.batch.plan import RECIPE, Clip, plan_clips
from nerfblendshape_ns.batch.status import STATUS, Status, last_step, read_log, read_status
from nerfblendshape_ns.batch.table import live_table, print_failures
from nerfblendshape_ns.common.console import say
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import save_text
from nerfblendshape_ns.common.output_folders import claimed_folder
from nerfblendshape_ns.recipes.recipe import load_recipe, save_recipe

TOOL = "nbs-batch"
"""Name in the record of a batch's folder."""
LOOKING = 0.05
"""Largest fraction of the time that is spent on looking where the clips stand."""


def run_batch(options: BatchOptions, console: Optional[Console] = None) -> List[Status]:
    """Make all clips that are not done; one that fails does not stop the others.

    Args:
        options: of the command.
        console: where to.

    Returns:
        The status of every clip.

    Raises:
        UserError: an option, the recipe, the clips' names or a video is bad, the folder is somebody else's, or another
            batch is writing it.
    """
    options.check()
    recipe = load_recipe(options.recipe)
    clips = plan_clips(options, recipe)
    with claimed_folder(options.output, TOOL, [options.recipe, *options.clips]):
        save_recipe(options.output / RECIPE, recipe, f"{str(options.recipe)!r} as it was when this batch was started.")
        return make_clips(clips, options, f"{recipe.name}: {len(clips)} clips", console or Console())


def make_clips(clips: Sequence[Clip], options: BatchOptions, title: str, console: Console) -> List[Status]:
    """Make planned clips in a folder that was claimed.

    Args:
        clips: all that belong to the batch.
        options: say who makes them.
        title: of the page.
        console: where to.

    Returns:
        The status of every clip.

    Raises:
        UserError: the page cannot be written at the start or the end, or the engine cannot work.
    """
    board = _Board(clips)
    todo = [clip for clip in clips if board.statuses[clip.name].state != "done"]
    if len(todo) < len(clips):
        say(console, f"{len(clips) - len(todo)} of {len(clips)} clips are done and stay as they are")
    page = options.output / PAGE
    save_text(page, batch_page(title, board.all()))
    if options.scheduler is None:
        jobs = options.jobs or len(options.device_list) or 1
        engine = run_here(todo, jobs, options.device_list)
    else:
        engine = run_on_cluster(todo, options.scheduler, partial(say, console))
    # A table that is drawn anew is for people; a log gets a line for each clip.
    live = Live(console=console, get_renderable=board.table, refresh_per_second=2) if console.is_terminal else None
    with closing(engine), live or nullcontext():
        for status in engine:
            board.statuses[status.name] = status
            try:
                save_text(page, batch_page(title, board.all()))
            except UserError as error:  # The clips under way need not end for that.
                say(console, str(error))
            if live is None:
                say(console, f"{status.name}: {status.state}, {status.minutes:.1f} minutes")
    save_text(page, batch_page(title, board.all()))
    print_failures(board.all(), console)
    say(console, f"all clips: {page}")
    return board.all()


class _Board:
    """Where the clips of a batch stand.

    Args:
        clips: of the batch.
    """

    def __init__(self, clips: Sequence[Clip]) -> None:
        self._clips = clips
        self._seen, self._pause = 0.0, 0.0
        self._shown: Dict[str, Status] = {}
        self.statuses = {clip.name: self._initial(clip) for clip in clips}
        """By name; a clip that is being made waits here."""

    def all(self) -> List[Status]:
        """The statuses in the order of the clips."""
        return [self.statuses[clip.name] for clip in self._clips]

    def table(self) -> Table:
        """All clips, with what those that run are doing."""
        begun = time.monotonic()
        if begun >= self._seen + self._pause:
            self._shown = {clip.name: self._running(clip) for clip in self._clips if self._waits(clip)}
            self._seen = time.monotonic()
            self._pause = (self._seen - begun) / LOOKING
        return live_table([self._shown.get(one.name, one) if one.state == "waiting" else one for one in self.all()])

    def _initial(self, clip: Clip) -> Status:
        status = read_status(clip.folder)
        return status if is_done(status, clip) else Status(clip.name, attempts=status.attempts)

    def _waits(self, clip: Clip) -> bool:
        return self.statuses[clip.name].state == "waiting"

    def _running(self, clip: Clip) -> Status:
        status = read_status(clip.folder)
        if status.state != "running" or status.attempts == self.statuses[clip.name].attempts:
            return self.statuses[clip.name]  # Not begun since this batch was; its file may be of one broken off.
        minutes = (time.time() - (clip.folder / STATUS).stat().st_mtime) / 60
        return replace(status, minutes=minutes, step=last_step(read_log(clip.folder)))
