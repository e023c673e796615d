"""HDR, interlaced and anamorphic videos, and such that change their size."""

from fractions import Fraction

import av
import numpy as np
import pytest

from nerfblendshape_ns.process_data.video import conversion, frames

HLG, PQ, BT_2020 = 18, 16, 9


def write_grey_hdr(path, signal: float, transfer: int, num_frames: int = 3):
    """A video in which every pixel is a grey of that signal (0 to 1), as phones state it: BT.2020 in ten bits."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p10le"
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = (
            BT_2020,
            BT_2020,
            transfer,
            1,
        )
        for number in range(num_frames):
            frame = av.VideoFrame(96, 64, "yuv420p10le")
            for plane, value in zip(frame.planes, (round(4 * (16 + 219 * signal)), 512, 512)):
                plane.update(np.full(plane.buffer_size // 2, value, np.uint16).tobytes())
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    "transfer, signal, grey",
    [
        # White paper has 203 candela (ITU-R BT.2408), which is 0.75 of HLG. Its 0.5 are 50.7 candela, those of PQ 92.2
        # (BT.2100), which as fractions of that sRGB writes as 137 and 180.
        (HLG, 0.75, 254),
        (HLG, 0.5, 137),
        (PQ, 0.5, 180),
    ],
)
def test_hdr_becomes_what_an_ordinary_camera_would_have_seen(tmp_path, transfer, signal, grey):
    video = write_grey_hdr(tmp_path / "hdr.mp4", signal, transfer)
    info = frames.probe_video(video)
    assert info.is_hdr and not info.is_interlaced
    images = list(frames.decode(video))
    assert [number for number, _, _ in images] == [0, 1, 2]
    for _, _, image in images:
        assert np.abs(image.astype(int) - grey).max() <= 4


@pytest.mark.parametrize("transfer, primaries, interlaced", [(HLG, 3, False), (3, 3, True)])
def test_reserved_numbers_of_colours_are_no_obstacle(transfer, primaries, interlaced):
    frame = av.VideoFrame.from_ndarray(np.full((32, 48, 3), 180, np.uint8), "rgb24").reformat(format="yuv420p")
    frame.pts, frame.color_trc, frame.color_primaries = 0, transfer, primaries
    converter = conversion.FrameConverter(1.0)
    converter._is_interlaced = interlaced
    ((_, _, image),) = [*converter.add(frame, (0, 0.0)), *converter.rest()]
    assert image.shape == (32, 48, 3) and image.std() < 2


def write_moving_bar(path, num_frames: int = 6):
    """Interlaced: the lines of a frame's two fields show a bar at two places, as a moving one is filmed."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg2video", rate=25, options={"flags": "+ildct+ilme", "b": "8M"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for number in range(num_frames):
            image = np.full((96, 128, 3), 40, np.uint8)
            for line in range(96):
                left = 16 * number + 8 * (line % 2)
                image[line, left : left + 24] = 200
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def test_the_fields_of_an_interlaced_video_are_not_shown_at_once(tmp_path):
    info = frames.probe_video(write_moving_bar(tmp_path / "tape.mkv"))
    assert info.is_interlaced and not info.is_hdr
    images = list(frames.decode(info.path))
    assert [number for number, _, _ in images] == list(range(6))
    np.testing.assert_allclose([seconds for _, seconds, _ in images], np.arange(6) / 25, atol=1e-3)
    for number, (_, _, image) in enumerate(images):
        lines = image[8:-8, :, 0].astype(int)
        # Both fields at once are a comb: every line differs from the next by the bar's eight columns at both ends.
        assert (np.abs(np.diff(lines, axis=0)) > 80).sum(1).mean() < 4, f"frame {number}"


@pytest.mark.parametrize(
    "width, aspect, shown", [(96, (4, 3), 128), (96, (1, 1), 96), (96, (97, 96), 96), (96, (40, 1), 96)]
)
def test_pixels_that_are_not_square_are_stretched(tmp_path, width, aspect, shown):
    path = tmp_path / "tape.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(*aspect)
        for number in range(2):
            image = np.zeros((64, width, 3), np.uint8)
            image[:, : width // 2] = 255
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    info = frames.probe_video(path)
    assert (info.width, info.height) == (shown, 64)
    images = [image for _, _, image in frames.decode(path)]
    assert [image.shape for image in images] == [(64, shown, 3)] * 2
    assert images[0][:, : shown // 2 - 3].mean() > 250 and images[0][:, shown // 2 + 3 :].mean() < 5


def test_a_video_that_changes_its_size_keeps_that_of_its_first_frame(tmp_path):
    """As a browser records a call: what the other side sends grows and shrinks with the network."""
    content = b""
    for width, height in ((96, 64), (48, 32), (96, 64)):
        with av.open(str(tmp_path / "part.h264"), "w") as output:
            stream = output.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for _ in range(3):
                output.mux(
                    stream.encode(av.VideoFrame.from_ndarray(np.full((height, width, 3), 180, np.uint8), "rgb24"))
                )
            output.mux(stream.encode(None))
        content += (tmp_path / "part.h264").read_bytes()
    (tmp_path / "call.h264").write_bytes(content)
    images = [image for _, _, image in frames.decode(tmp_path / "call.h264")]
    assert [image.shape for image in images] == [(64, 96, 3)] * 9
    assert all(np.abs(image.astype(int) - 180).max() < 6 for image in images)
