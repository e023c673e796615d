"""Every wrong input has its own message, in one sentence, and leaves nothing behind but finished steps."""

import os
from pathlib import Path

import numpy as np
import pytest
from sound_files import tone, write_sound
from stand_in_tracker import SIZE, Tracker, process
from video_files import chequer, write_video

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.process_data import pipeline
from nerfblendshape_ns.process_data.networks.model_files import LANDMARKER
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.steps.step_record import StepRecord, video_key


def grey(level):
    return lambda index: np.full((SIZE, SIZE, 3), level, np.uint8)


def two_scenes(index):
    picture = chequer(30 + 2 * index, (SIZE, SIZE), 25)
    other = picture // 2 + 100 * (np.arange(SIZE) > 40)[:, None, None].astype(np.uint8)
    return picture if index < 12 else np.ascontiguousarray(np.rot90(other))


def talk(path):
    return write_video(path, 14, (SIZE, SIZE))


def text(path):
    path.write_text("not a video at all")


def half_a_file(path):
    talk(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def sound_only(path):
    write_sound(path, tone(1.0))


# What is found out only when the whole video has been looked at: that step is kept.
AFTER_SURVEY = {"three frames", "too slow", "no face", "black", "grey", "cuts"}
# What the file is, options, whether a face is seen, the message.
TABLE = {
    "missing": (None, {}, True, r"clip.mp4 does not exist; give the path of a video file\."),
    "folder": (lambda path: path.mkdir(), {}, True, r"clip.mp4 is a folder, not a video"),
    "text": (text, {}, True, r"clip.mp4 is not a video that can be decoded; convert it to mp4"),
    "empty": (lambda path: path.touch(), {}, True, r"clip.mp4 is not a video that can be decoded"),
    "half": (half_a_file, {}, True, r"clip.mp4 (is not a video|holds no frame) that can be decoded; convert it to mp4"),
    "sound only": (sound_only, {}, True, r"clip.mp4 is not a video that can be decoded"),
    "three frames": (lambda path: write_video(path, 3, (SIZE, SIZE)), {}, True, r"gives only 3 frames and at least 10"),
    "too slow": (talk, {"fps": 5.0}, True, r"gives only [34] frames and at least 10 are needed; .* higher --fps"),
    "no face": (talk, {}, False, r"no face was found in any of the 14 frames of .*clip.mp4; use a video in which"),
    "black": (lambda path: write_video(path, 14, (SIZE, SIZE), picture=grey(0)), {}, True, r"nothing but black or one"),
    "grey": (lambda path: write_video(path, 14, (SIZE, SIZE), picture=grey(99)), {}, True, r"nothing but black or one"),
    "cuts": (
        lambda path: write_video(path, 26, (SIZE, SIZE), picture=two_scenes),
        {"on_cut": "refuse"},
        True,
        r"clip.mp4 is cut at 0.48 s; keep one scene with --start and --end, or pass --on-cut longest",
    ),
    "start too late": (
        talk,
        {"start": 9.0},
        True,
        r"no frame of .* lies between --start and --end; .* 0.56 sec",
    ),
    "start negative": (talk, {"start": -1.0}, True, r"--start -1 lies before the video"),
    "end before start": (talk, {"start": 2.0, "end": 1.0}, True, r"--end 1 is not after --start 2; give a later time"),
    "few frames asked": (talk, {"max_frames": 4}, True, r"--max-frames 4 is too few; at least 10"),
    "no rate": (talk, {"fps": 0.0}, True, r"--fps 0 is not a frame rate; give a number above 0"),
    "no focal length": (talk, {"focal": 0.01}, True, r"--focal 0.01 is not that of a camera"),
    "tiny images": (talk, {"max_size": 16}, True, r"--max-size 16 is too small to track a face"),
    "no model": (talk, {"landmarker": "gone.task"}, True, r"gone.task"),
}


@pytest.mark.parametrize("name", TABLE)
def test_every_wrong_input_has_its_own_message(name, monkeypatch, tmp_path):
    make, options, face, message = TABLE[name]
    tracker = Tracker(monkeypatch)
    if not face:
        tracker.lost = set(range(14))
    video = tmp_path / "clip.mp4"
    if make is not None:
        make(video)
    chosen = ProcessOptions(video, tmp_path / "out", **{"crop": "none", **options})
    if chosen.landmarker:
        chosen.landmarker = tmp_path / chosen.landmarker
        monkeypatch.setattr(pipeline, "LANDMARKER", LANDMARKER)
    with pytest.raises(UserError, match=message) as raised:
        process(chosen)
    message = str(raised.value)
    assert "\n" not in message and message.endswith(".") and "Error(" not in message
    if name in AFTER_SURVEY:
        assert list(StepRecord(tmp_path / "out").steps) == ["survey"]
        assert not (tmp_path / "out" / "transforms.json").exists()
    else:
        assert not (tmp_path / "out").exists()


def test_messages_differ():
    assert len({message for *_, message in TABLE.values()}) >= len(TABLE) - 3


def test_cuts_are_kept_on_request(monkeypatch, tmp_path):
    Tracker(monkeypatch)
    video = write_video(tmp_path / "clip.mp4", 26, (SIZE, SIZE), picture=two_scenes)
    options = ProcessOptions(video, tmp_path / "out", crop="none", on_cut="keep")
    document = process(options)
    assert document["steps"]["frames"]["summary"]["num_frames"] == 26
    assert np.flatnonzero(np.load(tmp_path / "out" / "tracks_raw.npz")["breaks"]).tolist() == [12]
    options.on_cut = "longest"
    document = process(options)
    assert document["steps"]["frames"]["summary"]["num_frames"] == 14
    warning = document["steps"]["frames"]["warnings"][0]
    assert "cut at 0.48 s; only the scene from 0.48 to 1.00 s" in warning and "--on-cut keep" in warning
    assert document["source"]["start"] == pytest.approx(0.48)
    assert os.path.isabs(document["source"]["video"]) and document["source"]["has_audio"] is False
    assert document["source"]["digest"] == video_key(Path(document["source"]["video"]))


def test_black_frames_in_the_middle_are_left_out_and_interrupt_the_motion(monkeypatch, tmp_path):
    Tracker(monkeypatch)

    def picture(index):
        return (
            chequer(0, (SIZE, SIZE), 0)
            if 7 <= index < 11
            else chequer(20 + 5 * (index - 4 * (index > 7)), (SIZE, SIZE))
        )

    video = write_video(tmp_path / "clip.mp4", 18, (SIZE, SIZE), picture=picture)
    document = process(ProcessOptions(video, tmp_path / "out", crop="none"))
    summary = document["steps"]["frames"]["summary"]
    assert (summary["num_frames"], summary["variable_rate"], summary["fps"]) == (14, False, pytest.approx(25))
    assert "are left out: 4 frames in the middle of the video." in document["steps"]["frames"]["warnings"][0]
    assert np.flatnonzero(np.load(tmp_path / "out" / "tracks_raw.npz")["breaks"]).tolist() == [7]


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
@pytest.mark.parametrize("of", ["video", "output"])
def test_a_name_of_another_encoding(tmp_path, of):
    odd = Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9.mp4"))
    talk(tmp_path / "talk.mp4")
    paths = {"video": tmp_path / "talk.mp4", "output": tmp_path / "out", of: odd}
    if of == "video":
        paths["video"] = (tmp_path / "talk.mp4").rename(odd)
    with pytest.raises(UserError, match=r"caf\\udce9.mp4' is not UTF-8, as the report must be; rename it"):
        process(ProcessOptions(**paths))
