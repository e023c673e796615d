"""From figures of frames to figures of a run."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence

import numpy as np

from nerfblendshape_ns.evaluation.frames import Figures, RenderedFrame, render_seconds
from nerfblendshape_ns.evaluation.measure import Instruments
from nerfblendshape_ns.evaluation.trained_run import TrainedRun

TOOL = "nbs-eval"


def summarise(frames: Sequence[RenderedFrame]) -> Dict[str, Any]:
    """Mean and spread of every figure over frames.

    Returns:
        ``frames``; ``rows`` (by row, then by metric) and ``alignment`` (by measure): each with ``mean``, ``std`` (the
        standard deviation over the frames) and ``frames``, the number of frames that have the figure. A figure that no
        frame has is None.
    """
    names = _keys([frame.rows for frame in frames])
    return {
        "frames": len(frames),
        "rows": {name: _statistics([frame.rows[name] for frame in frames if name in frame.rows]) for name in names},
        "alignment": _statistics([frame.alignment for frame in frames]),
    }


def evaluation_document(
    run: TrainedRun, measured: Mapping[str, Sequence[RenderedFrame]], instruments: Instruments
) -> Dict[str, Any]:
    """What ``eval.json`` holds.

    Args:
        run: that was measured.
        measured: frames by split, in the order of the tables.
        instruments: that measured.
    """
    camera = run.train_dataset.cameras[0:1].to(run.device)
    return {
        "tool": TOOL,
        "run": run.described(),
        "splits": {split: summarise(frames) for split, frames in measured.items()},
        "speed": {
            "frames_per_second": 1.0 / render_seconds(run.model, camera),
            "size": list(run.train_dataset.image_size),
        },
        "missing": list(instruments.missing),
    }


def _statistics(figures: Sequence[Figures]) -> Dict[str, Dict[str, Any]]:
    statistics = {}
    for name in _keys(figures):
        values = np.array([figure[name] for figure in figures if name in figure], dtype=np.float64)
        values = values[np.isfinite(values)]
        mean, std = (float(values.mean()), float(values.std())) if len(values) else (None, None)
        statistics[name] = {"mean": mean, "std": std, "frames": len(values)}
    return statistics


def _keys(dictionaries: Sequence[Mapping[str, Any]]) -> List[str]:
    """All keys, in the order in which they come up."""
    return list(dict.fromkeys(key for dictionary in dictionaries for key in dictionary))
