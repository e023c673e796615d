"""Runs of made-up models."""

from __future__ import annotations

from pathlib import Path

import torch

EXECUTES = "!!python/object/apply:os.abort []"
"""A config that must never be executed."""


def save_run(folder: Path, model: torch.nn.Module, step: int = 7, config: str = EXECUTES) -> Path:
    """A run as nerfstudio's trainer leaves it; its folder."""
    (folder / "nerfstudio_models").mkdir(parents=True, exist_ok=True)
    (folder / "config.yml").write_text(config)
    state = {f"_model.{name}": value for name, value in model.state_dict().items()}
    content = {"step": step, "pipeline": state, "optimizers": {}}
    torch.save(content, folder / "nerfstudio_models" / f"step-{step:09d}.ckpt")
    return folder
