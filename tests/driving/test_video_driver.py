"""A video as a driver: only coefficients and poses are made of it, once."""

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from video_files import cut_video, write_video

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.driving.video_driver import needed_steps, video_sequence
from nerfblendshape_ns.process_data.step_graph import Step

QUIET = Console(quiet=True)


def step(name, *after):
    return Step(name, lambda progress: ({}, []), list(after), {}, [])


def test_only_what_is_read_is_done():
    steps = [step("frames"), step("landmarks", "frames"), step("labels", "landmarks"), step("pose", "landmarks")]
    assert needed_steps(steps, ["pose"]) == {"frames", "landmarks", "pose"}


def test_what_is_no_video_is_told(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    with pytest.raises(UserError, match="is not a video that can be decoded"):
        video_sequence(tmp_path / "a.mp4", tmp_path / "cache", None, True, QUIET)
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
def test_a_video_without_a_face_is_told(tmp_path, landmarker_path):
    video = write_video(tmp_path / "grey.mp4", 12)
    with pytest.raises(UserError, match="no face was found"):
        video_sequence(video, tmp_path / "cache", landmarker_path, True, QUIET)


@pytest.mark.slow
def test_a_real_video_drives(tmp_path, landmarker_path, plain_video, capfd):
    video = cut_video(plain_video, tmp_path / "short.mp4", 14)
    driver, notes = video_sequence(video, tmp_path / "cache", landmarker_path, True, QUIET)
    assert all(isinstance(note, str) for note in notes)
    assert driver.values.shape == (14, 52) and driver.basis_id == "arkit52" and "jawOpen" in driver.names
    assert np.allclose(np.diff(driver.times), 1 / 30, atol=1e-3) and driver.times[0] == pytest.approx(0, abs=0.01)
    assert driver.motion is not None and driver.audio == video
    # The face looks at the camera: head up is up in the picture, and the face is in front of the camera.
    assert np.abs(driver.motion.rotation - np.eye(3)).max() < 0.3 and (driver.motion.translation[:, 2] < -10).all()
    assert driver.image_of(13).ndim == 3
    (folder,) = (tmp_path / "cache").iterdir()
    made = {path.name for path in Path(folder).iterdir()}
    assert not made & {"parsing", "background.png", "report", "transforms.json"}
    # A second time nothing is tracked.
    stamp = (folder / "tracks_raw.npz").stat().st_mtime_ns
    again, _ = video_sequence(video, tmp_path / "cache", landmarker_path, True, QUIET)
    assert (folder / "tracks_raw.npz").stat().st_mtime_ns == stamp and np.array_equal(again.values, driver.values)
