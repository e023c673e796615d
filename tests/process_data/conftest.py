from pathlib import Path

import numpy as np
import pytest
from drawn_person import drawn_landmarks, drawn_person
from stand_in_tracker import NUM_FRAMES, SIZE, Tracker
from video_files import shared_folder, write_video

from nerfblendshape_ns.process_data.options import ProcessOptions


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


@pytest.fixture
def tracker(monkeypatch) -> Tracker:
    return Tracker(monkeypatch)


@pytest.fixture
def options(tmp_path) -> ProcessOptions:
    video = write_video(tmp_path / "talk.mp4", NUM_FRAMES, (SIZE, SIZE))
    return ProcessOptions(video, tmp_path / "dataset", crop="none")
