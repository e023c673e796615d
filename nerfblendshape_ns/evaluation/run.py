"""Evaluating a run: what ``nbs-eval`` and ``nbs-recipe`` share, from its frames to the files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

from rich.console import Console

from nerfblendshape_ns.common.console import progress_bars
from nerfblendshape_ns.common.file_io import save_json, save_text
from nerfblendshape_ns.evaluation.frames import RenderedFrame
from nerfblendshape_ns.evaluation.measure import Instruments, measure_frames
from nerfblendshape_ns.evaluation.report import report_page
from nerfblendshape_ns.evaluation.tables import as_csv, frames_csv
from nerfblendshape_ns.evaluation.trained_run import FrameOfRun, TrainedRun

Measured = Dict[str, List[RenderedFrame]]
"""Frames by split."""


def measure_splits(
    run: TrainedRun, splits: Mapping[str, Sequence[FrameOfRun]], instruments: Instruments, console: Console
) -> Measured:
    """Render and measure the frames of several splits, with a bar for each.

    Args:
        run: the model.
        splits: frames by name of the split.
        instruments: what to measure with.
        console: for the bars.
    """
    measured: Measured = {}
    with progress_bars(console) as progress:
        for split, frames in splits.items():
            task = progress.add_task(f"{split} frames", total=len(frames))
            measured[split] = measure_frames(run, frames, split, instruments, partial(progress.advance, task))
    return measured


def write_evaluation(
    folder: Path, document: Mapping[str, Any], measured: Mapping[str, Sequence[RenderedFrame]]
) -> None:
    """Write ``eval.json``, ``eval.csv`` (means), ``frames.csv`` (every frame) and ``eval.html``.

    Args:
        folder: is there.
        document: of :func:`~nerfblendshape_ns.evaluation.summary.evaluation_document`.
        measured: the frames behind it.
    """
    save_json(folder / "eval.json", dict(document))
    save_text(folder / "eval.csv", as_csv(document))
    save_text(folder / "frames.csv", frames_csv(measured))
    save_text(folder / "eval.html", report_page(str(document["run"]["experiment"]), document, measured))
