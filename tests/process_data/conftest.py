import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


def shared_folder() -> Path:
    return Path(os.environ.get("NBS_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))


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
