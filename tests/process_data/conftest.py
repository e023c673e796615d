from pathlib import Path

import numpy as np
import pytest
from drawn_person import drawn_landmarks, drawn_person
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


@pytest.fixture
def drawn_clip():
    landmarks = np.stack([drawn_landmarks((64 + 4 * np.sin(0.6 * i), 50.0), jaw_open=2.0 * (i % 3)) for i in range(10)])
    drawn = [drawn_person(points) for points in landmarks]
    return [image for image, _ in drawn], landmarks, np.stack([truth for _, truth in drawn])
