import struct

import numpy as np
import pytest
from video_files import write_video

from nerfblendshape_ns.errors import UserError
from nerfblendshape_ns.process_data import frames
from nerfblendshape_ns.process_data.crop import FrameWindow


def test_missing_file_folder_and_text_each_have_their_own_message(tmp_path):
    with pytest.raises(UserError, match="nowhere.mp4 does not exist; give the path of a video file with --video"):
        frames.probe_video(tmp_path / "nowhere.mp4")
    with pytest.raises(UserError, match="is a folder, not a video"):
        frames.probe_video(tmp_path)
    text = tmp_path / "notes.mp4"
    text.write_text("not a video at all")
    with pytest.raises(UserError, match="notes.mp4 is not a video that can be decoded; convert it to mp4"):
        frames.probe_video(text)


def test_every_frame_is_decoded_in_order_with_its_time(tmp_path):
    video = write_video(tmp_path / "grey.mp4", 14, size=(64, 48), fps=20.0)
    info = frames.probe_video(video)
    assert (info.width, info.height, info.fps) == (64, 48, 20.0)
    decoded = list(frames.decode(video))
    assert [frame.shape for _, frame in decoded] == [(48, 64, 3)] * 14
    assert np.allclose([seconds for seconds, _ in decoded], np.arange(14) / 20, atol=1e-3)
    # The codec shifts grey by a few levels, the same in every frame.
    assert np.allclose(np.diff([frame.mean() for _, frame in decoded]), 5, atol=1)
    assert np.allclose(frames.frame_times(video), np.arange(14) / 20, atol=1e-3)


def test_a_rotated_phone_video_comes_out_upright(tmp_path):
    def left_half_white(_):
        picture = np.zeros((48, 96, 3), np.uint8)
        picture[:, :48] = 255
        return picture

    video = write_video(tmp_path / "lying.mp4", 12, size=(96, 48), picture=left_half_white)
    # A phone held upright stores lying pictures and a matrix in the track header that turns them by 90 degrees.
    content = bytearray(video.read_bytes())
    start = content.index(b"tkhd") + 4 + 40
    content[start : start + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30)
    video.write_bytes(content)
    info = frames.probe_video(video)
    assert (info.width, info.height) == (48, 96)
    _, picture = next(iter(frames.decode(video)))
    # Turned clockwise by 90 degrees, the left half is at the top.
    assert picture[:20].mean() > 230 and picture[-20:].mean() < 25


def test_select_frames_keeps_all_or_the_nearest_to_each_instant():
    times = np.arange(60) / 30
    kept, fps = frames.select_frames(times, None)
    assert len(kept) == 60 and fps == pytest.approx(30)
    kept, fps = frames.select_frames(times, 15.0)
    assert kept.tolist() == list(range(0, 60, 2)) and fps == 15.0
    # A higher rate than the video's own repeats nothing.
    kept, fps = frames.select_frames(times, 120.0)
    assert len(kept) == 60 and fps == pytest.approx(30)
    kept, _ = frames.select_frames(times, 25.0)
    assert np.all(np.diff(kept) >= 1) and abs(len(kept) - 50) <= 1
    kept, _ = frames.select_frames(times, None, max_frames=12)
    assert kept.tolist() == list(range(12))


def test_too_few_frames_say_how_many_are_needed():
    with pytest.raises(UserError, match="gives only 3 frames and at least 10 are needed"):
        frames.select_frames(np.arange(3) / 25, None)
    with pytest.raises(UserError, match="longer video or a higher --fps"):
        frames.select_frames(np.arange(100) / 25, 1.0)


def test_irregular_times_are_noticed():
    assert not frames.is_irregular(np.arange(100) / 30)
    times = np.cumsum(np.where(np.arange(100) % 5 == 0, 0.08, 0.033))
    assert frames.is_irregular(times)


def test_apply_window_cuts_and_scales():
    frame = np.zeros((40, 60, 3), np.uint8)
    frame[10:30, 20:40] = 200
    out = frames.apply_window(frame, FrameWindow(20, 10, 20, 20, 10, 10))
    assert out.shape == (10, 10, 3) and (out == 200).all()
