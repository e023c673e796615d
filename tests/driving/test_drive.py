"""nbs-drive on a small untrained run, in one process."""

import io
import json
import pickle
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from driving_run import NUM_FRAMES
from rich.console import Console
from tiny_clips import write_own

from nerfblendshape_ns.avatar.avatar import open_avatar
from nerfblendshape_ns.avatar.avatar_file import Provenance
from nerfblendshape_ns.avatar.export import export_avatar
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import load_image
from nerfblendshape_ns.driving import drive as drive_module
from nerfblendshape_ns.driving.drive import drive, plan_drive
from nerfblendshape_ns.driving.options import DriveOptions
from nerfblendshape_ns.driving.sources import source_kind
from nerfblendshape_ns.process_data.steps.step_record import video_key
from nerfblendshape_ns.scripts.drive import main

QUIET = Console(quiet=True)


def options(run, output, **changes) -> DriveOptions:
    return replace(DriveOptions(avatar=run, output=output, size=16), **changes)


def plan(run, tmp_path, **changes):
    chosen = options(run, tmp_path / "frames", **changes)
    return plan_drive(chosen, open_avatar(run), QUIET)


def pictures(folder: Path) -> list:
    return [load_image(path, cv2.IMREAD_UNCHANGED) for path in sorted(folder.glob("*.png"))]


def test_own_test_frames_are_rendered_as_they_were_captured(tiny_run, tmp_path):
    run, _, clip = tiny_run
    result = drive(options(run, tmp_path / "frames"), QUIET)
    assert (result.num_frames, result.num_rendered) == (5, 5)
    avatar = open_avatar(run)
    assert avatar.track is not None
    frames = pictures(tmp_path / "frames")
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
    (picture,) = pictures(tmp_path / "frames")
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


def test_another_datasets_expressions(tiny_run, tmp_path):
    run, _, _ = tiny_run
    other = tmp_path / "other"
    write_own(other, 12, size=64)
    names = ["mouthPucker", "tongueOut", "jaw_open", "_neutral", "browInnerUp", "mouthSmile_L"]
    (other / "expr_names.json").write_text(json.dumps({"basis": "arkit52", "names": names}))
    driven = plan(run, tmp_path, by=str(other), side_by_side=True)
    assert driven.mapping.missing == ("eyeBlinkLeft",)
    assert [note.split(":")[0] for note in driven.notes[:2]] == [
        "1 of the avatar's 4 coefficients are not in the driver and stay neutral",
        "2 of the driver's coefficients have no part in this avatar",
    ]
    avatar_names = list(driven.person.avatar.names)
    assert np.ptp(driven.expressions[:, avatar_names.index("eyeBlinkLeft")]) == 0
    # jaw_open is the driver's third column, whatever its place in this avatar.
    values = np.load(other / "expr.npy")
    moved = driven.expressions[:, avatar_names.index("jawOpen")]
    assert np.corrcoef(moved, values[:, 2])[0, 1] > 0.95
    # Turned as the driver, at this person's own place.
    assert np.ptp(driven.poses.camera[:, :, 3], axis=0).max() > 0.1
    plain = plan(run, tmp_path, by=str(other), retarget="none", head_pose="fixed")
    assert np.allclose(plain.poses.camera, plain.poses.camera[0])
    low, high = plain.person.model_space.low[0], plain.person.model_space.high[0]
    assert np.allclose(plain.expressions[:, avatar_names.index("jawOpen")], np.clip(values[:, 2], low, high), atol=1e-6)


def test_a_driver_with_nothing_in_common_is_refused(tiny_run, tmp_path):
    run, _, _ = tiny_run
    other = tmp_path / "other"
    write_own(other, 12, size=64)
    (other / "expr_names.json").write_text(json.dumps({"basis": "bfm79", "names": [f"bfm_{i}" for i in range(6)]}))
    with pytest.raises(UserError, match=r"\(bfm_0, bfm_1, bfm_2, …\) and this person's 4 \(jawOpen, mouthPucker, "):
        plan(run, tmp_path, by=str(other))


def test_a_file_of_coefficients(tiny_run, tmp_path):
    run, _, _ = tiny_run
    values = np.stack([np.linspace(0.2, 0.8, 10), np.full(10, 0.5)], axis=1).astype(np.float32)
    np.save(tmp_path / "expr.npy", values)
    (tmp_path / "expr_names.json").write_text(json.dumps({"basis": "arkit52", "names": ["jawOpen", "eyeBlinkLeft"]}))
    driven = plan(run, tmp_path, by=str(tmp_path / "expr.npy"), source_fps=10.0, fps=10.0)
    names = list(driven.person.avatar.names)
    assert driven.num_frames == 10
    assert np.allclose(driven.expressions[:, names.index("jawOpen")], values[:, 0], atol=1e-6)
    assert np.allclose(driven.poses.camera, driven.poses.camera[0])
    guessed = plan(run, tmp_path, by=str(tmp_path / "expr.npy"))
    assert guessed.num_frames == 10 and any("taken for 25 rows per second" in note for note in guessed.notes)
    rows = "\n".join(f"{frame},{jaw:.6f}" for frame, jaw in enumerate(values[:, 0]))
    (tmp_path / "expr.csv").write_text("frame,jawOpen\n" + rows + "\n")
    table = plan(run, tmp_path, by=str(tmp_path / "expr.csv"), source_fps=10.0, fps=10.0)
    assert np.allclose(table.expressions[:, names.index("jawOpen")], values[:, 0], atol=1e-5)


def test_keyframes_with_a_turning_head(tiny_run, tmp_path):
    run, _, _ = tiny_run
    keys = tmp_path / "keys.yaml"
    keys.write_text("keyframes: [{time: 0}, {time: 1, expression: {jawOpen: 100%}, head: {yaw: 8}}]")
    driven = plan(run, tmp_path, by=str(keys), fps=10.0)
    jaw = driven.expressions[:, list(driven.person.avatar.names).index("jawOpen")]
    assert jaw[-1] == pytest.approx(float(driven.person.avatar.maximum[0])) and jaw[0] < 0.1
    assert driven.num_frames == 11
    assert not np.allclose(driven.poses.camera[0], driven.poses.camera[-1])


def test_rgba_frames_carry_the_heads_opacity(tiny_run, tmp_path):
    run, _, _ = tiny_run
    drive(options(run, tmp_path / "frames", format="rgba", end=0.04), QUIET)
    (picture,) = pictures(tmp_path / "frames")
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
    video = tmp_path / "me.mp4"
    command = ["ffmpeg", "-loglevel", "error", "-y", "-f", "lavfi", "-i", "testsrc=size=32x32:duration=0.8"]
    command += ["-f", "lavfi", "-i", "sine=frequency=440:duration=0.8", "-shortest", str(video)]
    subprocess.run(command, check=True)
    (data / "process.json").write_text(json.dumps({"source": {"video": str(video), "digest": video_key(video)}}))
    result = drive(options(run, tmp_path / "out.mp4"), QUIET)
    assert result.has_sound and drive_module.has_sound(tmp_path / "out.mp4")
    # The test frames start at the fifteenth of 25 a second.
    sound, note = drive_module.find_sound(options(run, tmp_path / "o.mp4"), plan(run, tmp_path).driver)
    assert sound is not None and sound.start == pytest.approx(0.6) and note is None
    silent = drive(options(run, tmp_path / "out.mp4", audio="none", overwrite=True), QUIET)
    assert not silent.has_sound and not drive_module.has_sound(tmp_path / "out.mp4")
    with pytest.raises(UserError, match="is no file with sound"):
        drive(options(run, tmp_path / "new.mp4", audio=str(run / "config.yml")), QUIET)
    assert not (tmp_path / ".new.mp4.frames").exists(), "told before anything is rendered"
    video.write_bytes(video.read_bytes() + b"!")  # Another file has taken its place.
    changed = drive(options(run, tmp_path / "out.mp4", overwrite=True), QUIET)
    assert not changed.has_sound and changed.notes[-1] == (
        "no sound: the video that the driver was made from is not recorded, not there or another by now; give --audio "
        "FILE."
    )


def test_an_exported_avatar_drives_without_its_dataset(tiny_run, tmp_path):
    run, data, _ = tiny_run
    export_avatar(open_avatar(run), tmp_path / "me.avatar", Provenance(), False)
    other = tmp_path / "other"
    shutil.copytree(data, other)
    driven = plan(tmp_path / "me.avatar", tmp_path, by=str(other), retarget="none")
    assert np.allclose(driven.expressions, plan(run, tmp_path, by=str(other), retarget="none").expressions, atol=1e-6)
    assert plan(tmp_path / "me.avatar", tmp_path, by=str(other)).num_frames == NUM_FRAMES
    with pytest.raises(UserError, match="was exported without its clip's track, so --by test has nothing to play"):
        plan(tmp_path / "me.avatar", tmp_path)
    with pytest.raises(UserError, match="--background plate needs the avatar's own dataset"):
        plan(tmp_path / "me.avatar", tmp_path, by=str(other), background="plate")


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
        ({"start": 2.0, "end": 1.0}, "--start 2 --end 1.0 is no stretch of time"),
        ({"size": 4}, "--size 4 is no picture size"),
        ({"gain": 99.0}, "--gain 99 is too far from 1"),
        ({"smooth_expressions": -1.0}, "--smooth-expressions cannot be negative"),
        ({"source_fps": -1.0}, "--source-fps -1 is not a frame rate"),
        ({"format": "rgba", "output": Path("a.mp4")}, "--format rgba needs a folder for --output, not a.mp4"),
        ({"format": "mp4", "output": Path("a")}, "--format mp4 needs an --output that ends in .mp4, not a"),
        ({"format": "rgba", "output": Path("a"), "side_by_side": True}, "--side-by-side has no place in an RGBA"),
        ({"by": "/no/such/thing"}, "--by /no/such/thing is neither test, val, train, all nor a path that exists"),
    ],
)
def test_bad_options_are_told_before_anything_is_opened(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        drive(replace(DriveOptions(avatar=tmp_path / "none"), **changes), QUIET)


def test_kinds_of_drivers(tiny_run, tmp_path):
    _, data, _ = tiny_run
    for name in ("a.npy", "a.csv", "a.yaml", "a.mp4"):
        (tmp_path / name).write_bytes(b"")
    kinds = {name: source_kind(str(tmp_path / name)) for name in ("a.npy", "a.csv", "a.yaml", "a.mp4")}
    assert kinds == {"a.npy": "file", "a.csv": "file", "a.yaml": "keyframes", "a.mp4": "video"}
    assert source_kind("test") == "own" and source_kind(str(data)) == "dataset"


def test_files_that_are_no_video_are_told_the_known_kinds(tiny_run, tmp_path):
    """Text, archives and pickles; what is named as a video is one, and so is what begins with other bytes."""
    run, _, _ = tiny_run
    (tmp_path / "a.txt").write_text("jawOpen ist größer als 0.5\n" * 200)
    (tmp_path / "a.xlsx").write_bytes(b"PK\x03\x04" + bytes(20))
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"exp": [0.0]}))
    for name in ("a.txt", "a.xlsx", "a.pkl"):
        with pytest.raises(UserError) as error:
            plan(run, tmp_path, by=str(tmp_path / name))
        assert f"{name} is of no known kind of expression coefficients (array: NAME.npy" in str(error.value)
        assert "audio2face: .json of Audio2Face" in str(error.value)
    (tmp_path / "a.bin").write_bytes(bytes(range(256)))
    assert source_kind(str(tmp_path / "a.bin")) == "video"


def test_capture_files_are_no_videos(tiny_run, tmp_path):
    run, _, _ = tiny_run
    document = {"exportFps": 10.0, "facsNames": ["jawOpen", "eyeBlinkLeft"], "weightMat": [[0.2, 0.5]] * 10}
    (tmp_path / "a.json").write_text(json.dumps(document))
    driven = plan(run, tmp_path, by=str(tmp_path / "a.json"), fps=10.0)
    assert driven.num_frames == 10 and np.allclose(driven.driver.values, [[0.2, 0.5]] * 10)
    (tmp_path / "b.txt").write_text("jawOpen-20|eyeBlink_L-50|=head#0,0,0|\n" * 10)
    slow = plan(run, tmp_path, by=str(tmp_path / "b.txt"), source_fps=5.0, fps=10.0)
    assert slow.num_frames == 20


def test_a_recording_that_begins_without_a_face_stays_in_step(tiny_run, tmp_path):
    """The first face comes after a second; the driver begins with the file all the same."""
    run, _, _ = tiny_run
    rows = [
        f"10:00:{row // 60:02d}:{row % 60:02d}.000,{'0' if row < 60 else f'61,{row / 200:.3f}'}" for row in range(120)
    ]
    (tmp_path / "a.csv").write_text("Timecode,BlendShapeCount,JawOpen\n" + "\n".join(rows))
    driven = plan(run, tmp_path, by=str(tmp_path / "a.csv"), fps=60.0)
    assert driven.num_frames == 120 and driven.driver.times[0] == 0
    assert np.allclose(driven.driver.values[[0, 59, 60, 119], 0], [0.3, 0.3, 0.3, 0.595], atol=1e-6)
    assert any("there is no face in the first 1.00 s" in note for note in driven.notes)


def test_columns_without_names_are_named(tiny_run, tmp_path):
    run, data, _ = tiny_run
    values = np.tile(np.linspace(0.2, 0.8, 10)[:, None], (1, 52)).astype(np.float32)
    np.save(tmp_path / "bs.npy", values)
    with pytest.raises(
        UserError, match="in common; the driver's columns have no names, so say what they are with --names"
    ):
        plan(run, tmp_path, by=str(tmp_path / "bs.npy"))
    driven = plan(run, tmp_path, by=str(tmp_path / "bs.npy"), names="mediapipe52")
    assert driven.driver.basis_id == "arkit52" and "jawOpen" in driven.driver.names
    with pytest.raises(
        UserError, match="--names says what a file's columns are, but --by .* is no such file; leave it"
    ):
        plan(run, tmp_path, by=str(data), names="arkit52")


def test_a_dataset_of_vhap_is_named(tiny_run, tmp_path):
    run, _, _ = tiny_run
    (tmp_path / "vhap").mkdir()
    frame = {"timestep_index": 0, "flame_param_path": "flame_param/00000.npz"}
    (tmp_path / "vhap" / "transforms.json").write_text(json.dumps({"frames": [frame]}))
    with pytest.raises(UserError, match="is a dataset of VHAP .* run nbs-process-data on the video"):
        plan(run, tmp_path, by=str(tmp_path / "vhap"))


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
