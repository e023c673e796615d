from pathlib import Path

import pytest
from video_files import shared_folder


@pytest.fixture(scope="session")
def landmarker_path() -> Path:
    path = shared_folder() / "models" / "face_landmarker.task"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    return path


@pytest.fixture(scope="session")
def clips_folder() -> Path:
    path = shared_folder() / "clips"
    if not path.is_dir():
        pytest.skip(f"{path} is not here")
    return path
