import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from sound_files import tone, write_sound
from video_files import write_video

from nerfblendshape_ns.common import video_writing
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.process_data.video import frames
from nerfblendshape_ns.process_data.video.crop import FrameWindow


def test_missing_file_folder_and_text_each_have_their_own_message(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.mp4 does not exist; give the path of a video file\."):
        frames.probe_video(tmp_path / "nowhere.mp4")
    with pytest.raises(UserError, match="is a folder, not a video; .* Images become one by ffmpeg"):
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
    assert [number for number, _, _ in decoded] == list(range(14))
    assert [frame.shape for _, _, frame in decoded] == [(48, 64, 3)] * 14
    assert np.allclose([seconds for _, seconds, _ in decoded], np.arange(14) / 20, atol=1e-3)
    # The codec shifts grey by a few levels, the same in every frame.
    assert np.allclose(np.diff([frame.mean() for _, _, frame in decoded]), 5, atol=1)


def test_start_and_end_bound_what_is_decoded(tmp_path):
    video = write_video(tmp_path / "grey.mp4", 14, size=(64, 48), fps=20.0)
    inside = list(frames.decode(video, start=0.2, end=0.45))
    assert [number for number, _, _ in inside] == [4, 5, 6, 7, 8]
    assert inside[0][1] == pytest.approx(0.2)
    assert not list(frames.decode(video, start=3.0))


def test_sound_and_frame_count_are_read(tmp_path):
    video = write_video(tmp_path / "grey.mp4", 14, size=(64, 48), fps=20.0)
    info = frames.probe_video(video)
    assert info.num_frames == 14 and not info.has_audio
    assert frames.probe_video(write_sound(tmp_path / "loud.mp4", tone(0.7), video=video)).has_audio


def test_a_video_that_does_not_say_how_long_it_is_is_counted(tmp_path):
    """As a browser records: without a length, faces were looked for in every frame of it."""
    path = tmp_path / "recorded.webm"
    with av.open(str(path), "w", options={"live": "1"}) as output:
        stream = output.add_stream("libvpx", rate=30)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for _ in range(40):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8), "rgb24")))
        output.mux(stream.encode(None))
    assert frames.probe_video(path).num_frames == len(list(frames.decode(path))) == 40


def test_a_recording_whose_times_begin_late_is_no_longer_for_that(tmp_path):
    """A piece of a stream; faces were looked for in few of its frames, as of a long video."""
    path = tmp_path / "piece.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8), "rgb24")
            frame.pts, frame.time_base = 25 * 3600 + number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    assert frames.probe_video(path).num_frames == 20
    times = [seconds for _, seconds, _ in frames.decode(path)]
    assert times == pytest.approx(np.arange(20) / 25, abs=1e-3)


ONE = 1 << 16


@pytest.mark.parametrize(
    "matrix, corner",
    [
        # A phone held upright stores lying pictures and a matrix in the track header that turns them; a camera that
        # faces the user may mirror them too. Where the bright upper left corner goes: right? below?
        ((ONE, 0, 0, ONE), (False, False)),
        ((0, ONE, -ONE, 0), (True, False)),
        ((-ONE, 0, 0, -ONE), (True, True)),
        ((0, -ONE, ONE, 0), (False, True)),
        ((-ONE, 0, 0, ONE), (True, False)),
        ((ONE, 0, 0, -ONE), (False, True)),
        ((0, ONE, ONE, 0), (False, False)),
        ((0, -ONE, -ONE, 0), (True, True)),
    ],
)
def test_a_phone_video_comes_out_upright_and_not_mirrored(tmp_path, matrix, corner):
    def upper_left_white(_):
        picture = np.zeros((48, 96, 3), np.uint8)
        picture[:24, :48] = 255
        return picture

    video = write_video(tmp_path / "lying.mp4", 12, size=(96, 48), picture=upper_left_white)
    content = bytearray(video.read_bytes())
    start = content.index(b"tkhd") + 4 + 40
    across, down, across_of_down, down_of_down = matrix
    content[start : start + 36] = struct.pack(
        ">9i", across, down, 0, across_of_down, down_of_down, 0, 48 << 16, 0, 1 << 30
    )
    video.write_bytes(content)
    info = frames.probe_video(video)
    height, width = (96, 48) if matrix[0] == 0 else (48, 96)
    assert (info.width, info.height) == (width, height)
    _, _, picture = next(iter(frames.decode(video)))
    right, below = corner
    bright = picture[height // 2 * below :, width // 2 * right :][: height // 2, : width // 2]
    assert bright[4:-4, 4:-4].mean() > 230 and picture.mean() == pytest.approx(255 / 4, abs=4)


@pytest.mark.parametrize("standard, number", [("ITU709", 1), ("ITU601", 6)])
def test_colours_are_read_as_the_video_states_them(tmp_path, standard, number):
    """The same luma and chroma stand for other colours in BT.709 and BT.601; cameras state which."""
    colours = np.full((64, 96, 3), (200, 40, 60), np.uint8)
    with av.open(str(tmp_path / "red.mp4"), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.codec_context.colorspace = 96, 64, number
        frame = av.VideoFrame.from_ndarray(colours, "rgb24")
        output.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=standard)))
        output.mux(stream.encode(None))
    (image,) = [image for _, _, image in frames.decode(tmp_path / "red.mp4")]
    np.testing.assert_allclose(image.mean((0, 1)), (200, 40, 60), atol=3)


@pytest.mark.parametrize("number", [3, 8, 10, 14])
def test_a_colour_matrix_that_cannot_be_converted_is_taken_for_unspecified(tmp_path, number):
    """Reserved, YCgCo, BT.2020 with constant luminance, ICtCp."""
    path = tmp_path / "rare.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        stream.codec_context.colorspace = number
        frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), (200, 40, 60), np.uint8), "rgb24").reformat(
            format="yuv420p"
        )
        frame.colorspace = number
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    ((_, _, image),) = frames.decode(path)
    assert np.abs(image.astype(int) - (200, 40, 60)).max() < 12


def test_damaged_packets_are_left_out_and_times_stay(tmp_path):
    video = write_video(tmp_path / "grey.mp4", 30, size=(64, 48), fps=20.0)
    with av.open(str(video)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(video.read_bytes())
    position, size = packets[13]
    content[position : position + size] = bytes(size)
    video.write_bytes(content)
    times = [seconds for _, seconds, _ in frames.decode(video)]
    assert len(times) == 29 and times == pytest.approx([number / 20 for number in range(30) if number != 13], abs=1e-3)


def test_a_video_that_breaks_off_is_read_as_far_as_it_goes(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (30, 48, 64, 3), np.uint8)
    video_writing.write_video(tmp_path / "noise.mp4", noise, 20.0)
    content = (tmp_path / "noise.mp4").read_bytes()
    (tmp_path / "noise.mp4").write_bytes(content[: len(content) // 2])
    assert 10 < len(list(frames.decode(tmp_path / "noise.mp4"))) < 20


def test_a_playlist_is_no_video(tmp_path):
    write_video(tmp_path / "grey.mp4", 14)
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile grey.mp4\n")
    with pytest.raises(UserError, match="is not a video that can be decoded"):
        frames.probe_video(tmp_path / "list.mp4")


def test_apply_window_cuts_and_scales():
    frame = np.zeros((40, 60, 3), np.uint8)
    frame[10:30, 20:40] = 200
    out = frames.apply_window(frame, FrameWindow(20, 10, 20, 20, 10, 10))
    assert out.shape == (10, 10, 3) and (out == 200).all()
