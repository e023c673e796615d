"""A clip for short trainings."""

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A tiny clip."""
    from nerfblendshape_ns.recipes.datasets import write_synthetic
    from nerfblendshape_ns.synthetic.dataset import ClipSettings

    folder = tmp_path_factory.mktemp("synthetic") / "clip"
    write_synthetic(ClipSettings(num_frames=8, width=32, height=32, fps=10), folder)
    return folder
