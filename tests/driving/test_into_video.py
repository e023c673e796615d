"""The render pasted back into the uncropped video."""

import json
from dataclasses import asdict, replace
from fractions import Fraction
from io import StringIO

import av
import numpy as np
import pytest
import torch
from driving_run import NUM_FRAMES, QUIET, images, options, plan
from rich.console import Console
from sound_files import tone, write_sound
from video_files import write_video

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.driving import into_video
from nerfblendshape_ns.driving import plan as driving_plan
from nerfblendshape_ns.driving.drive import drive, find_sound
from nerfblendshape_ns.driving.into_video import border_weight, filled
from nerfblendshape_ns.process_data.steps.step_record import video_key
from nerfblendshape_ns.process_data.video.crop import FrameWindow
from nerfblendshape_ns.process_data.video.frame_selection import select_frames
from nerfblendshape_ns.process_data.video.frames import decode

WIDE, TALL = FrameWindow(40, 12, 96, 96, 96, 96), FrameWindow(16, 60, 192, 192, 96, 96)


@pytest.fixture(scope="module", params=[(WIDE, (176, 120)), (TALL, (224, 320))], ids=["landscape", "portrait"])
def filmed(request, make_run, tmp_path_factory):
    """A run whose dataset is a crop of a larger video with sound: run, video, window."""
    window, size = request.param
    run, data, clip = make_run()
    folder = tmp_path_factory.mktemp("filmed")

    def picture(frame: int) -> np.ndarray:
        whole = np.full((size[1], size[0], 3), 90, np.uint8)
        whole[:, : size[0] // 2] = 150
        small = clip.images[frame]
        scale = window.width // small.shape[1]
        crop = small.repeat(scale, 0).repeat(scale, 1)
        whole[window.top : window.top + window.height, window.left : window.left + window.width] = crop
        return whole

    silent = write_video(folder / "silent.mp4", NUM_FRAMES, size, picture=picture)
    video = write_sound(folder / "whole.mp4", tone(0.8), video=silent)
    document = {
        "source": {"video": str(video), "digest": video_key(video)},
        "steps": {"frames": {"summary": {"window": asdict(window)}}},
    }
    (data / "process.json").write_text(json.dumps(document))
    return run, video, window


def test_only_the_crop_changes(filmed, tmp_path):
    run, video, window = filmed
    result = drive(options(run, tmp_path / "frames", into=video), console := Console(file=StringIO(), width=200))
    whole = [image for _, _, image in decode(video)]
    height, width = whole[0].shape[:2]
    assert f"5 frames of {width}x{height}, driven by the test frames" in console.file.getvalue()
    shown = images(tmp_path / "frames")
    assert result.num_frames == len(shown) == 5
    rows, columns = slice(window.top, window.top + window.height), slice(window.left, window.left + window.width)
    for frame, picture in zip(range(15, 20), shown):
        assert picture.shape == whole[frame].shape
        outside = np.ones(picture.shape[:2], bool)
        outside[rows, columns] = False
        assert np.array_equal(picture[outside], whole[frame][outside])
        difference = np.abs(picture.astype(int) - whole[frame])[rows, columns]
        middle = window.height // 2
        assert difference[middle - 5 : middle + 5, middle - 5 : middle + 5].max() > 10
        # It fades at all four sides of the crop: nothing jumps there.
        assert max(part.max() for part in (difference[0], difference[-1], difference[:, 0], difference[:, -1])) <= 8


def test_a_frame_that_is_asked_for_again_is_not_decoded_again(filmed, tmp_path, monkeypatch):
    run, video, _ = filmed
    into, starts = plan(run, tmp_path, into=video).into, []
    monkeypatch.setattr(into_video, "decode", lambda path, start: starts.append(start) or decode(path, start))
    frames = [into.read(frame) for frame in (3, 3, 4, 4, 6)]
    assert len(starts) == 1 and frames[0] is frames[1] and frames[2] is frames[3]
    assert np.array_equal(into.read(3), frames[0]) and len(starts) == 2


def test_an_opaque_render_shows_and_a_transparent_one_removes_the_head(filmed, tmp_path):
    run, video, window = filmed
    into = plan(run, tmp_path, into=video).into
    whole = into.read(16)
    nothing = {"accumulation": torch.zeros(16, 16, 1), "rgb": torch.zeros(16, 16, 3)}
    removed = into.paste(16, nothing)
    middle = window.top + window.height // 2, window.left + window.width // 2
    assert np.abs(whole[middle].astype(int) - (200, 120, 80)).max() < 20, "the ball is the head"
    around = (
        np.abs(removed[middle].astype(int) - (30, 60, 90)).max(),
        np.abs(removed[middle].astype(int) - (180, 140, 110)).max(),
    )
    assert min(around) < 20, "what is beside it fills its place"
    red = {"accumulation": torch.ones(16, 16, 1), "rgb": torch.tensor([1.0, 0.0, 0.0]).expand(16, 16, 3)}
    assert into.paste(16, red)[middle].tolist() == [255, 0, 0]


def test_a_whole_person_stands_before_its_plate(filmed, tmp_path):
    run, video, window = filmed
    into = replace(plan(run, tmp_path, into=video).into, whole_person=True)
    plate = torch.tensor([0.0, 0.0, 1.0]).expand(16, 16, 3)
    middle = window.top + window.height // 2, window.left + window.width // 2
    torso = window.top + int(0.85 * window.height), middle[1]
    gone = into.paste(16, {"accumulation": torch.zeros(16, 16, 1), "rgb": plate, "background": plate})
    assert gone[middle].tolist() == [0, 0, 255] and gone[torso].tolist() == [0, 0, 255]
    corner = window.top + window.height // 4, window.left + window.width // 5
    assert np.array_equal(gone[corner], into.read(16)[corner]), "the frame's own background stays"
    half = torch.full((16, 16, 1), 0.5)
    red = torch.tensor([1.0, 0.0, 0.0])
    mixed = into.paste(16, {"accumulation": half, "rgb": half * red + (1 - half) * plate, "background": plate})
    assert np.abs(mixed[middle].astype(int) - (128, 0, 128)).max() <= 2


def test_every_frame_has_its_own_pose_and_the_sound_of_the_video(filmed, tmp_path):
    run, video, _ = filmed
    whole = plan(run, tmp_path, into=video, by="all")
    track = whole.person.avatar.track.head_pose.numpy().reshape(-1, 3, 4)
    assert whole.fps == 25.0 and np.array_equal(whole.into_frames, np.arange(NUM_FRAMES))
    assert np.allclose(whole.poses.camera, track)
    test = plan(run, tmp_path, into=video)
    assert np.array_equal(test.into_frames, np.arange(15, 20))
    result = drive(options(run, tmp_path / "out.mp4", into=video), QUIET)
    assert result.has_sound
    sound, note = find_sound(options(run, tmp_path / "o.mp4", into=video), test)
    assert sound.path == video and sound.start == pytest.approx(0.6) and note is None


def test_another_driver_begins_and_ends_with_the_video(filmed, tmp_path):
    run, video, _ = filmed
    keys = tmp_path / "keys.yaml"
    keys.write_text("keyframes:\n  - {time: 0.0}\n  - {time: 3.0}\n")
    made = plan(run, tmp_path, into=video, by=str(keys))
    assert np.array_equal(made.into_frames, np.arange(NUM_FRAMES))
    assert "whole.mp4 shows 0.8 seconds; the rest of the driver is left out." in made.notes
    sound, _ = find_sound(options(run, tmp_path / "o.mp4", into=video), made)
    assert sound.path == video and sound.start == 0.0, "a driver without sound leaves the video's"
    silent = replace(made, driver=replace(made.driver, audio=write_video(tmp_path / "silent.mp4", 3)))
    sound, note = find_sound(options(run, tmp_path / "o.mp4", into=video), silent)
    assert sound is not None and sound.path == video and note is None, "and so does a driver's silent video"


def test_where_the_video_shows_no_face_its_own_frames_stand(make_run, tmp_path):
    """Of 30 frames, 4 to 12 show another thing, and the face of number 20 was not found."""
    run, data, clip = make_run()
    lost = [*range(4, 13), 20]
    kept = np.setdiff1d(np.arange(30), lost)

    def picture(frame: int) -> np.ndarray:
        whole = np.full((120, 176, 3), 60 + 5 * frame, np.uint8)
        if frame in kept:
            whole[12:108, 40:136] = clip.images[int(np.flatnonzero(kept == frame)[0])]
        return whole

    video = write_video(tmp_path / "whole.mp4", 30, (176, 120), picture=picture)
    document = {
        "source": {"video": str(video), "digest": video_key(video)},
        "steps": {
            "frames": {"summary": {"window": asdict(WIDE)}},
            "landmarks": {"summary": {"lost_frames": lost, "on_missing": "drop"}},
        },
    }
    (data / "process.json").write_text(json.dumps(document))
    np.save(data / "frame_times.npy", kept / 25)
    drive(options(run, tmp_path / "frames", into=video, by="all"), QUIET)
    shown, whole = images(tmp_path / "frames"), [image for _, _, image in decode(video)]
    assert len(shown) == len(whole) == 30
    unchanged = [frame for frame in range(30) if np.array_equal(shown[frame], whole[frame])]
    assert unchanged == list(range(4, 13)), "for the moment of frame 20 a neighbour stands in"


def test_a_variable_frame_rate_shows_the_frames_that_the_dataset_took(make_run, tmp_path):
    """Data preparation takes the frame nearest to each instant, be it before or after, and the last instant may come
    after the last frame."""
    run, data, _ = make_run()
    video, seconds = tmp_path / "phone.mp4", np.arange(NUM_FRAMES) / 25
    seconds[1::3] -= 0.012
    with av.open(str(video), "w") as output:
        stream = output.add_stream("libx264", rate=1000, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 176, 120, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for number, second in enumerate(seconds):
            frame = av.VideoFrame.from_ndarray(np.full((120, 176, 3), 40 + 10 * number, np.uint8), "rgb24")
            frame.pts, frame.time_base = round(1000 * second), Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    chosen = select_frames(np.array([at for _, at, _ in decode(video)]))
    assert chosen.variable and chosen.indices.tolist() == list(range(NUM_FRAMES))
    assert chosen.times[-1] > seconds[-1] and (chosen.times[1::3] > seconds[1::3] + 0.01).all()
    np.save(data / "frame_times.npy", chosen.times)
    document = {
        "source": {"video": str(video), "digest": video_key(video)},
        "steps": {"frames": {"summary": {"window": asdict(WIDE)}}},
    }
    (data / "process.json").write_text(json.dumps(document))
    into = plan(run, tmp_path, into=video).into
    levels = [into.read(frame).mean() for frame in (*range(NUM_FRAMES), 7, 12)]
    np.testing.assert_allclose(levels, 40 + 10 * np.array([*range(NUM_FRAMES), 7, 12]), atol=3)
    with pytest.raises(UserError, match="phone.mp4 ends before second 0.90, which"):
        into.image_at(0.9)


def test_keyframes_jump_between_two_frames_of_the_video(filmed, tmp_path, monkeypatch):
    run, video, _ = filmed
    monkeypatch.setattr(driving_plan, "DEFAULT_FPS", 10.0)
    keys = tmp_path / "keys.yaml"
    keys.write_text("easing: hold\nkeyframes: [{time: 0.0}, {time: 0.4, expression: {jawOpen: 100%}}, {time: 0.8}]")
    made = plan(run, tmp_path, into=video, by=str(keys))
    jaw = made.expressions[:, made.person.avatar.names.index("jawOpen")]
    assert made.fps == 25.0 and np.unique(jaw.round(6)).size == 2, "no frame is half-way"


@pytest.mark.parametrize("lost", [[99], ["a"], [10**30], [[1], [2]], None, [-1]])
def test_numbers_of_lost_frames_that_do_not_fit_say_nothing(lost):
    document = {"steps": {"landmarks": {"summary": {"lost_frames": lost, "on_missing": "drop"}}}}
    assert not len(into_video.faceless_times(document, np.arange(20) / 25))


def test_what_cannot_be_pasted_is_told(filmed, tiny_run, tmp_path):
    run, video, _ = filmed
    other = write_video(tmp_path / "other.mp4", 3)
    with pytest.raises(
        UserError, match=r"--into .*other.mp4 is not the video that .*clip was made from; give that very"
    ):
        plan(run, tmp_path, into=other)
    with pytest.raises(UserError, match="clip does not say which part of which video it shows"):
        plan(tiny_run[0], tmp_path, into=video)
    refused = (
        {"side_by_side": True},
        {"head_pose": "orbit"},
        {"smooth_poses": 3},
        {"background": "green"},
        {"rgba": True},
    )
    for changes in refused:
        with pytest.raises(UserError, match="--into shows the video's own frames"):
            drive(options(run, tmp_path / "frames", into=video, **changes), QUIET)


def test_the_border_is_soft_only_inside_the_frame():
    weight = border_weight(FrameWindow(10, 0, 50, 60, 50, 60), (60, 100))
    assert weight[30, 0] < 0.1 and weight[30, -1] < 0.1 and weight[0, 25] == weight[-1, 25] == 1
    assert (np.diff(weight[30, :25]) >= 0).all()
    assert border_weight(FrameWindow(0, 0, 64, 64, 64, 64), (64, 64)).min() == 1


def test_a_hole_takes_the_colours_beside_it():
    image = np.zeros((40, 40, 3), np.float32)
    image[:, 20:] = 200
    hole = np.zeros((40, 40), bool)
    hole[10:30, 10:30] = True
    image[hole] = 77
    result = filled(image, hole)
    assert np.array_equal(result[~hole], image[~hole])
    assert result[20, 11].max() < 10 and result[20, 28].min() > 190
    assert filled(image, np.ones_like(hole)) is image
