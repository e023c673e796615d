"""The clip's sound under the rendered test frames."""

import numpy as np
import pytest
from sound_files import read_sound, tone, write_sound
from test_pictures import frame

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.media import has_sound
from nerfblendshape_ns.common.video_writing import write_video
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.process_data.steps.step_record import video_key
from nerfblendshape_ns.recipes.pictures import sound_of_split, video_images
from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset


@pytest.fixture
def clip(tmp_path):
    """A tiny dataset whose source video is silent for its first second and then hums."""
    data, video = tmp_path / "clip", tmp_path / "source.mp4"
    write_dataset(ClipSettings(num_frames=20, width=32, height=32, fps=10), data)
    write_video(tmp_path / "silent.mp4", [np.full((32, 32, 3), 128, np.uint8)] * 20, 10.0)
    write_sound(video, tone(2.0, begin=1.0), video=tmp_path / "silent.mp4")
    file_io.save_json(data / contract.PROCESS, {"source": {"video": str(video), "digest": video_key(video)}})
    return data, video


def test_the_sound_of_the_split_is_put_under_its_frames(clip, tmp_path):
    data, video = clip
    sound = sound_of_split({"root": str(data), "layout": "own", "img_ids": [12, 13, 14]})
    assert sound is not None and sound.path == video and sound.start == pytest.approx(1.2)
    write_video(tmp_path / "out.mp4", video_images([frame(0.5)] * 5), 10.0, sound)
    assert np.abs(read_sound(tmp_path / "out.mp4")).mean() > 0.1, "the silent start was taken"


def test_a_clip_without_its_video_is_silent(clip, tmp_path):
    data, video = clip
    video.unlink()
    assert sound_of_split({"root": str(data), "layout": "own", "img_ids": [12]}) is None
    write_video(tmp_path / "out.mp4", video_images([frame(0.5)] * 2), 10.0)
    assert not has_sound(tmp_path / "out.mp4")
