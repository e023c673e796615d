"""Evaluations as ``nbs-eval`` writes them, small and made by hand."""

from __future__ import annotations

from typing import Any, Dict, Optional

from nerfblendshape_ns.recipes.results import Figure, RecordedRun, Result, Split


def figures(**means: Optional[float]) -> Dict[str, Figure]:
    """Metrics over two frames."""
    return {name: Figure(mean, None if mean is None else 0.0, 2) for name, mean in means.items()}


def result(
    recipe: str,
    variant: Optional[str] = None,
    seed: int = 42,
    clip: Optional[str] = None,
    rows: Optional[Dict[str, Dict[str, Figure]]] = None,
    alignment: Optional[Dict[str, Figure]] = None,
    splits: Optional[Dict[str, Split]] = None,
    **run: Any,
) -> Result:
    """A result whose test split has the given rows.

    Args:
        recipe: its name.
        variant: its variant.
        seed: of the run; the recipe's is 42.
        clip: where the recipe names none.
        rows: figures of the test split by row; with ``whole`` among them it is a torso's.
        alignment: where the error of the test split lies.
        splits: further splits.
        run: other values of the run.
    """
    rows = rows or {}
    parts = [recipe, variant, None if seed == 42 else f"seed{seed}", "torso" if "whole" in rows else None]
    values: Dict[str, Any] = {
        "experiment": "-".join(part for part in parts if part is not None),
        "method": "nerfblendshape-torso-small" if "whole" in rows else "nerfblendshape-head-small",
        "protocol": "tail10",
        "split_sizes": {"train": 18, "test": 2},
        "date": "2026-11-29",
        "commit": "0123456789ab",
        "machine": "Some Processor, 2 cores",
        "device": "cpu",
        "steps": 8000,
        "minutes": 10.0,
        "cpu_minutes": 9.0,
        "host_memory_mb": 2048,
        "gpu_memory_mb": None,
        "versions": {"torch": "2.6.0"},
        **run,
    }
    return Result(
        recipe=recipe,
        variant=variant,
        clip=clip,
        dataset={"tool": "nbs-process-data", "version": "0.1.0", "video": "a.mp4"},
        overrides={},
        published=[],
        run=RecordedRun(seed=seed, **values),
        splits={"test": Split(2, rows, alignment or {}), **(splits or {})},
        speed={"frames_per_second": 5.0, "size": [128, 128]},
    )
