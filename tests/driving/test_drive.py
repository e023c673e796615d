"""nbs-drive on a small untrained run, in one process: what is rendered and written."""

import io
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from driving_run import QUIET, images, options, plan
from rich.console import Console
from sound_files import tone, write_sound
from video_files import write_video

from nerfblendshape_ns.avatar.avatar import open_avatar
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.media import has_sound
from nerfblendshape_ns.driving import drive as drive_module
from nerfblendshape_ns.driving.drive import drive
from nerfblendshape_ns.driving.options import DriveOptions
from nerfblendshape_ns.process_data.steps.step_record import video_key
from nerfblendshape_ns.scripts.drive import main


def test_own_test_frames_are_rendered_as_they_were_captured(tiny_run, tmp_path):
    run, _, clip = tiny_run
    result = drive(options(run, tmp_path / "frames"), QUIET)
    assert (result.num_frames, result.num_rendered) == (5, 5)
    avatar = open_avatar(run)
    assert avatar.track is not None
    frames = images(tmp_path / "frames")
    for index, picture in enumerate(frames):
        state = avatar.model.expression_source.at_track(15 + index)
        state.train_frame = None
        expected = avatar.render(state, avatar.camera_of(avatar.track.head_pose[15 + index], 16))["rgb"]
        assert np.abs(picture.astype(float) - 255 * expected.numpy()).max() <= 0.6
    assert np.abs(frames[0].astype(float) - frames[3]).max() > 3
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]


def test_side_by_side_shows_the_truth_over_the_same_background(tiny_run, tmp_path):
    run, _, clip = tiny_run
    chosen = options(run, tmp_path / "frames", side_by_side=True, background="#00ff00", size=None, end=0.04)
    drive(chosen, QUIET)
    (picture,) = images(tmp_path / "frames")
    assert picture.shape == (24, 48, 3)
    truth = picture[:, :24]
    # The ball of the tiny clip in the middle, the colour elsewhere, torso and neck included.
    assert np.abs(truth[12, 12].astype(int) - clip.images[15][48, 48]).max() <= 12
    assert truth[1, 1].tolist() == [0, 255, 0] and truth[23, 12].tolist() == [0, 255, 0]
    assert picture[1, 25].tolist() == [0, 255, 0]


def test_any_rate_and_any_stretch(tiny_run, tmp_path):
    run, _, clip = tiny_run
    whole = plan(run, tmp_path, by="all", fps=50.0)
    assert whole.num_frames == 40
    model = plan(run, tmp_path, by="all").expressions
    assert np.allclose(whole.expressions[::2], model) and np.allclose(whole.expressions[1], (model[0] + model[1]) / 2)
    part = plan(run, tmp_path, by="all", start=0.2, end=0.4)
    assert np.allclose(part.expressions, model[5:10]) and part.driver.times[0] == pytest.approx(0.2)


def test_coefficients_stay_in_the_range_unless_told(tiny_run, tmp_path):
    run, _, _ = tiny_run
    avatar = open_avatar(run)
    low, high = avatar.minimum.double().numpy(), avatar.maximum.double().numpy()
    clamped = plan(run, tmp_path, by="all").expressions
    assert (clamped >= low - 1e-6).all() and (clamped <= high + 1e-6).all()
    free = plan(run, tmp_path, by="all", clamp=False)
    assert avatar.track is not None
    assert np.allclose(free.expressions, avatar.track.expression.numpy(), atol=1e-6)
    assert any("not clamped" in note for note in free.notes)
    neutral = np.clip(0.0, low, high)
    gained = plan(run, tmp_path, by="all", gain=2.0).expressions
    assert np.allclose(gained, neutral + 2 * (clamped - neutral))
    smooth = plan(run, tmp_path, by="all", smooth_expressions=3.0).expressions
    assert np.diff(smooth, axis=0).std() < 0.5 * np.diff(clamped, axis=0).std()


def test_rgba_frames_carry_the_heads_opacity(tiny_run, tmp_path):
    run, _, _ = tiny_run
    drive(options(run, tmp_path / "frames", rgba=True, end=0.04), QUIET)
    (picture,) = images(tmp_path / "frames")
    avatar = open_avatar(run)
    assert picture.shape == (16, 16, 4) and avatar.track is not None
    state = avatar.model.expression_source.at_track(15)
    opacity = avatar.render(state, avatar.camera_of(avatar.track.head_pose[15], 16))["accumulation"][..., 0]
    assert np.abs(picture[..., 3] - 255 * opacity.numpy()).max() <= 0.6


def test_a_killed_drive_goes_on(tiny_run, tmp_path, monkeypatch):
    run, _, _ = tiny_run
    chosen = options(run, tmp_path / "out.mp4")
    render, calls = drive_module.render_frame, []

    def until_killed(*arguments):
        calls.append(arguments[2])
        if len(calls) == 4:
            raise KeyboardInterrupt
        return render(*arguments)

    monkeypatch.setattr(drive_module, "render_frame", until_killed)
    with pytest.raises(KeyboardInterrupt):
        drive(chosen, QUIET)
    assert not (tmp_path / "out.mp4").exists()
    # Other settings share nothing with what is there.
    other = drive(replace(chosen, gain=1.5, output=tmp_path / "other"), QUIET)
    assert other.num_rendered == 5
    result = drive(chosen, QUIET)
    assert calls == [0, 1, 2, 3] + [0, 1, 2, 3, 4] + [3, 4]
    assert (result.num_frames, result.num_rendered) == (5, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out.mp4"]
    capture = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 5 and capture.get(cv2.CAP_PROP_FPS) == pytest.approx(25)


def test_sound_of_the_source_video_is_carried_over(make_run, tmp_path):
    run, data, _ = make_run()
    video = write_sound(tmp_path / "me.mp4", tone(0.8), video=write_video(tmp_path / "silent.mp4", 20, (32, 32)))
    (data / "process.json").write_text(json.dumps({"source": {"video": str(video), "digest": video_key(video)}}))
    result = drive(options(run, tmp_path / "out.mp4"), QUIET)
    assert result.has_sound and has_sound(tmp_path / "out.mp4")
    # The test frames start at the fifteenth of 25 a second.
    sound, note = drive_module.find_sound(options(run, tmp_path / "o.mp4"), plan(run, tmp_path))
    assert sound is not None and sound.start == pytest.approx(0.6) and note is None
    silent = drive(options(run, tmp_path / "out.mp4", audio="none", overwrite=True), QUIET)
    assert not silent.has_sound and not has_sound(tmp_path / "out.mp4")
    with pytest.raises(UserError, match="is no file with sound"):
        drive(options(run, tmp_path / "new.mp4", audio=str(run / "config.yml")), QUIET)
    assert not (tmp_path / ".new.mp4.frames").exists(), "told before anything is rendered"
    video.write_bytes(video.read_bytes() + b"!")  # Another file has taken its place.
    changed = drive(options(run, tmp_path / "out.mp4", overwrite=True), QUIET)
    assert not changed.has_sound and changed.notes[-1] == (
        "no sound: the video that the driver was made from is not recorded, missing or has changed; give --audio FILE."
    )


def test_backgrounds(tiny_run, tmp_path):
    run, _, _ = tiny_run
    picture = np.zeros((20, 40, 3), np.uint8)
    picture[:, :10] = 255  # Cropped away: a wide picture fills the square by its middle.
    cv2.imwrite(str(tmp_path / "wall.png"), picture)
    wall = plan(run, tmp_path, background=str(tmp_path / "wall.png")).background
    assert wall.shape == (16, 16, 3) and wall.max() == 0
    assert plan(run, tmp_path).background.tolist() == [1, 1, 1]
    assert plan(run, tmp_path, background="black").background.tolist() == [0, 0, 0]
    # The words and colours of ns-train's --pipeline.model.background.
    assert np.allclose(plan(run, tmp_path, background="green").background, [0, 128 / 255, 0])
    assert np.allclose(plan(run, tmp_path, background="#0080ff").background, [0, 128 / 255, 1])
    with pytest.raises(UserError, match="--background 'sky' is neither own, plate, a colour such as white or #00ff00,"):
        plan(run, tmp_path, background="sky")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fps": 0.0}, "--fps 0 is not a frame rate"),
        ({"start": 2.0, "end": 1.0}, "--start 2 --end 1.0 is no time interval"),
        ({"size": 4}, "--size 4 is no image size"),
        ({"gain": 99.0}, "--gain 99 is too far from 1"),
        ({"start": float("nan")}, "--start nan --end None is no time interval"),
        ({"start": float("inf")}, "--start inf --end None is no time interval"),
        ({"end": float("nan")}, "--start 0 --end nan is no time interval"),
        ({"smooth_expressions": -1.0}, "--smooth-expressions -1 is out of range"),
        ({"smooth_expressions": float("nan")}, "--smooth-expressions nan is out of range; give from 0"),
        ({"smooth_expressions": 1e5}, "--smooth-expressions 100000 is out of range; give from 0 \\(none\\) to 1000"),
        ({"source_fps": -1.0}, "--source-fps -1 is not a frame rate"),
        ({"rgba": True, "output": Path("a.mp4")}, "--rgba needs a folder for --output, not a.mp4"),
        ({"rgba": True, "output": Path("a"), "side_by_side": True}, "--side-by-side and --rgba do not go together"),
        ({"rgba": True, "output": Path("a"), "background": "green"}, "--rgba shows nothing behind the avatar; leave"),
        ({"audio": "a.wav", "output": Path("a")}, "--audio a.wav needs an .mp4 for --output, not a."),
        ({"output": Path("take.mov")}, "--output take.mov is no .mp4, the only kind of video that is written; give"),
        ({"output": Path("b/a.PNG")}, "--output a.PNG is no .mp4.* or for PNG files a folder without .PNG"),
        ({"by": "/no/such/thing"}, "--by /no/such/thing is neither test, val, train, all nor a path that exists"),
    ],
)
def test_bad_options_are_told_before_anything_is_opened(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        drive(replace(DriveOptions(avatar=tmp_path / "none"), **changes), QUIET)


def test_the_command_tells_errors_in_one_line(tiny_run, tmp_path, capsys):
    run, _, _ = tiny_run
    with pytest.raises(SystemExit) as stopped:
        main([str(run), "--by", "test", "--output", str(tmp_path / "f"), "--head-pose", "tracked", "--start", "9"])
    assert stopped.value.code == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: --start 9 to --end 0.2 leaves no frame of the test frames")


def test_the_command_renders(tiny_run, tmp_path, capsys):
    run, _, _ = tiny_run
    main([str(run), "--output", str(tmp_path / "a.mp4"), "--size", "16", "--end", "0.08", "--head-pose", "yaw-sweep"])
    assert (tmp_path / "a.mp4").stat().st_size > 500
    assert "2 frames of 16x16, driven by the test frames of the avatar's clip" in capsys.readouterr().out
    assert torch.is_grad_enabled()


def test_names_with_brackets_are_told_as_they_are(tiny_run, tmp_path):
    run, _, _ = tiny_run
    keys = tmp_path / "take[1] [b]x[/b].yaml"  # The slash makes a folder of the first part.
    keys.parent.mkdir()
    keys.write_text("keyframes: [{time: 0}, {time: 0.04}]")
    console = Console(file=io.StringIO(), width=400)
    drive(options(run, tmp_path / "out[red]", by=str(keys), clamp=False), console)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert f"2 frames of 16x16, driven by {keys}, " in told and told.strip().endswith(f"{tmp_path}/out[red]")
    assert "note: coefficients are not clamped" in told
