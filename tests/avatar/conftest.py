"""Made-up heads and runs of them."""

from pathlib import Path
from typing import Callable

import pytest
import torch


@pytest.fixture
def save_run() -> Callable[..., Path]:
    """Writes a run as nerfstudio's trainer leaves it, with a config that must never be executed."""

    def save(folder: Path, model: torch.nn.Module, step: int = 7) -> Path:
        (folder / "nerfstudio_models").mkdir(parents=True, exist_ok=True)
        (folder / "config.yml").write_text("!!python/object/apply:os.abort []")
        state = {f"_model.{name}": value for name, value in model.state_dict().items()}
        content = {"step": step, "pipeline": state, "optimizers": {}}
        torch.save(content, folder / "nerfstudio_models" / f"step-{step:09d}.ckpt")
        return folder

    return save
