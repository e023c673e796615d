"""A small untrained run on a tiny clip, as nerfstudio's trainer would leave it."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Tuple

import pytest
from driving_run import NUM_FRAMES
from saved_run import save_run
from tiny_clips import TinyClip, write_own
from video_files import shared_folder

from nerfblendshape_ns.common.file_io import save_json

CONFIG = """!!python/object:nerfstudio.engine.trainer.TrainerConfig
data: &id001 !!python/object/apply:pathlib.PosixPath
{parts}
method_name: nerfblendshape-head-small
pipeline: !!python/object:nerfstudio.pipelines.base_pipeline.VanillaPipelineConfig
  datamanager: !!python/object:nerfblendshape_ns.data.datamanager.NerfBlendshapeDataManagerConfig
    _target: !!python/name:nerfblendshape_ns.data.datamanager.NerfBlendshapeDataManager ''
    data: *id001
    dataparser: !!python/object:nerfblendshape_ns.data.dataparser.NerfBlendshapeDataParserConfig
      data: !!python/object/apply:pathlib.PosixPath []
      layout: auto
      test_frames: 5
      val_frames: 2
"""


def config_of(data: Path) -> str:
    return CONFIG.format(parts="\n".join(f"- {part}" for part in data.resolve().parts))


@pytest.fixture(scope="session")
def make_run(tmp_path_factory) -> Callable[..., Tuple[Path, Path, TinyClip]]:
    """Writes a tiny clip of 20 frames at 25 a second (13 train, 2 validate, 5 test) and an untrained run of it."""
    from tiny_head import make as make_head

    from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParserConfig

    def make() -> Tuple[Path, Path, TinyClip]:
        root = tmp_path_factory.mktemp("drive")
        clip = write_own(root / "clip", NUM_FRAMES)
        parser = NerfBlendshapeDataParserConfig(data=root / "clip", test_frames=5, val_frames=2, max_size=24)
        outputs = parser.setup().get_dataparser_outputs("train")
        model = make_head(outputs.metadata, outputs.scene_box)
        run = save_run(root / "run", model, config=config_of(root / "clip"))
        save_json(run / "split.json", outputs.metadata["splits"])
        return run, root / "clip", clip

    return make


@pytest.fixture(scope="session")
def tiny_run(make_run) -> Tuple[Path, Path, TinyClip]:
    """A run, its dataset and the dataset's ground truth; shared, so not to be changed."""
    return make_run()


@pytest.fixture(scope="session")
def plain_video() -> Path:
    path = shared_folder() / "clips" / "plain_216f_30fps.mp4"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    return path
