"""Coefficients from elsewhere, put on the frames of a clip."""

from dataclasses import replace

import numpy as np
import pytest
from layout_clips import write_insta, write_radnerf
from video_files import cut_video

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.arrays import save_arrays
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.expressions.tracks import make_track
from nerfblendshape_ns.process_data import pipeline, step_graph
from nerfblendshape_ns.process_data.face.external_expressions import content_key, external_expressions
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.steps import expression_step, track_step
from nerfblendshape_ns.process_data.steps.step_record import StepRecord
from nerfblendshape_ns.scripts import process_data as script


def ramp(rows, path, fps=None, times=None):
    """A coefficient that rises by 1 a second (by 1 a row without a clock), and one that falls."""
    rise = np.arange(rows, dtype=np.float64) if times is None else np.asarray(times)
    values = np.stack([rise / (fps or 1), -rise / (fps or 1)], 1)
    return make_track(path, ["up", "down"], values, "custom", fps=fps, times=times)


def place(track, path, frames=10, fps=25.0, first=0, kept=None, num_source=-1, offset=0.0):
    """Frames ``first`` and on of a video of ``fps`` frames a second."""
    numbers = first + np.arange(frames)
    kept = np.arange(frames) if kept is None else np.asarray(kept)
    return external_expressions(
        track,
        path,
        frame_times=numbers[kept] / fps,
        frame_numbers=numbers,
        kept=kept,
        num_source=num_source,
        offset=offset,
    )


def test_a_clock_is_followed(tmp_path):
    """60 rows a second onto 25 frames a second; then the video begins 0.3 s into the recording."""
    made, warnings = place(ramp(120, tmp_path, fps=60), tmp_path)
    np.testing.assert_allclose(made[:, 0], np.arange(10) / 25, atol=1e-6)
    np.testing.assert_allclose(made[:, 1], -np.arange(10) / 25, atol=1e-6)
    assert warnings == []
    made, _ = place(ramp(120, tmp_path, fps=60), tmp_path, offset=0.3)
    np.testing.assert_allclose(made[:, 0], 0.3 + np.arange(10) / 25, atol=1e-6)


def test_an_uneven_clock_and_dropped_frames(tmp_path):
    made, _ = place(ramp(3, tmp_path, times=[0.0, 0.05, 0.5]), tmp_path, kept=[0, 1, 5, 9])
    np.testing.assert_allclose(made[:, 0], np.array([0, 1, 5, 9]) / 25, atol=1e-6)


def test_signed_values_of_any_size_are_kept(tmp_path):
    track = make_track(tmp_path, ["a"], np.linspace(-3, 40, 10)[:, None], "flame")
    np.testing.assert_array_equal(place(track, tmp_path)[0], track.values)


def test_rows_without_a_clock_are_frames(tmp_path):
    """Of the dataset, of the images before some were left out, or of the whole video."""
    kept = [0, 1, 2, 5, 6, 9]
    assert place(ramp(6, tmp_path), tmp_path, kept=kept)[0][:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert place(ramp(10, tmp_path), tmp_path, kept=kept)[0][:, 0].tolist() == kept
    made, _ = place(ramp(50, tmp_path), tmp_path, kept=kept, first=20, num_source=50)
    assert made[:, 0].tolist() == [20 + index for index in kept]


def test_ends_are_held_for_half_a_second(tmp_path):
    made, warnings = place(ramp(9, tmp_path, fps=25), tmp_path)
    assert made[-1, 0] == made[-2, 0] and warnings == []
    made, warnings = place(ramp(120, tmp_path, fps=60), tmp_path, offset=-0.4)
    np.testing.assert_allclose(made[:, 0], 0, atol=1e-6)
    assert "does not cover 10 frames" in warnings[0] or "does not cover 9 frames" in warnings[0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"frames": 100}, "lasts from 0 to 1.98 s but the clip needs 0.00 to 3.96 s of it"),
        ({"offset": -1.0}, "needs -1.00 to -0.64 s of it; correct --expressions-offset"),
        ({"offset": 5.0}, "needs 5.00 to 5.36 s"),
    ],
)
def test_a_track_that_does_not_cover_the_clip(tmp_path, options, expected):
    with pytest.raises(UserError) as error:
        place(ramp(120, tmp_path, fps=60), tmp_path / "take.csv", **options)
    assert expected in str(error.value) and "take.csv" in str(error.value)


def test_another_number_of_rows(tmp_path):
    with pytest.raises(
        UserError, match="has 7 rows and no clock, but the clip has 6 or 10 or 50 frames; give its rows"
    ):
        place(ramp(7, tmp_path), tmp_path, kept=[0, 1, 2, 5, 6, 9], num_source=50)
    with pytest.raises(UserError, match="has no clock, so --expressions-offset needs --expressions-fps"):
        place(ramp(10, tmp_path), tmp_path, offset=1.0)


def tracked_folder(root, frames=12):
    """What the steps before the expressions leave behind; the tracker's own coefficients are all 0.5."""
    root.mkdir()
    numbers = np.arange(frames)
    save_arrays(root / track_step.FRAMES, numbers=numbers)
    file_io.save_array(root / contract.FRAME_TIMES, numbers / 25)
    save_arrays(
        root / track_step.TRACKS_RAW,
        landmarks=np.zeros((frames, 478, 3), np.float32),
        coefficients=np.full((frames, 52), 0.5, np.float32),
        found=np.ones(frames, bool),
        kept_frames=numbers,
        breaks=np.zeros(frames, bool),
    )


def test_the_step_writes_the_files_coefficients(tmp_path):
    tracked_folder(tmp_path / "data")
    values = np.random.default_rng(0).normal(0, 2, (12, 50)).astype(np.float32)
    np.savez(tmp_path / "flame.npz", expr=values)
    options = ProcessOptions(tmp_path / "v.mp4", tmp_path / "data", expressions=tmp_path / "flame.npz")
    summary, warnings = expression_step.run(options, {"source_frames": 12}, lambda *_: None)
    assert summary["basis"] == "flame" and summary["coefficients"] == 50 and warnings == []
    # Neither smoothed nor clipped.
    np.testing.assert_array_equal(file_io.load_array(tmp_path / "data" / contract.EXPRESSIONS), values)
    names = file_io.load_json(tmp_path / "data" / contract.EXPRESSION_NAMES)
    assert names["basis"] == "flame" and names["names"][0] == "expr_00"
    low = file_io.load_array(tmp_path / "data" / contract.EXPRESSION_MIN)
    np.testing.assert_array_equal(low, values[:-1].min(0))


def test_a_changed_file_is_read_again(tmp_path):
    """The step's key follows from the file's content and the options that place it, and from nothing else."""
    video = tmp_path / "v.mp4"
    video.write_bytes(b"x")
    np.save(tmp_path / "e.npy", np.zeros((3, 2)))

    def key(**changes):
        options = ProcessOptions(video, tmp_path / "out", expressions=tmp_path / "e.npy", **changes)
        record = StepRecord(tmp_path / "out")
        return step_graph.step_keys(step_graph.build_steps(options, tmp_path / "model.task", record))["expressions"]

    first = key()
    assert key() == first and key(smooth_expressions=3.0) == first
    assert key(expressions_fps=25.0) != first and key(names="arkit52") != first and key(expressions_offset=1.0) != first
    (tmp_path / "e_names.txt").write_text("a\nb\n")
    named = key()
    assert named != first
    np.save(tmp_path / "e.npy", np.ones((3, 2)))
    assert key() != named


def test_the_key_of_a_folder(tmp_path):
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "1.txt").write_text("1")
    first = content_key(tmp_path)
    (tmp_path / "exp" / "2.txt").write_text("2")
    assert content_key(tmp_path) != first
    (tmp_path / "flame_param").mkdir()
    second = content_key(tmp_path)
    np.savez(tmp_path / "flame_param" / "00000.npz", expr=np.zeros((1, 100)))
    assert content_key(tmp_path) != second


@pytest.mark.parametrize(("write", "name"), [(write_insta, "flame/exp/00005.txt"), (write_radnerf, "track_params.pt")])
def test_the_key_of_a_dataset_is_that_of_its_coefficients(tmp_path, write, name):
    write(tmp_path)
    (tmp_path / name).touch()
    first = content_key(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b" ")
    assert content_key(tmp_path) != first


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"expressions_fps": 25.0}, "--expressions-offset and --expressions-fps say how to read --expressions"),
        ({"expressions_offset": 1.0}, "say how to read --expressions; give that too"),
        ({"expressions": "e.npy", "expressions_fps": 0.0}, "--expressions-fps 0 is not a rate"),
        ({"names": "arkit52"}, "--names says what the columns of --expressions are; give that too"),
    ],
)
def test_options_that_no_run_can_use(tmp_path, changes, expected):
    with pytest.raises(UserError, match=expected):
        ProcessOptions(tmp_path / "v.mp4", tmp_path / "out", **changes).check()


def test_a_wrong_file_is_reported_before_the_video_is_processed(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline.frames, "probe_video", lambda path: None)
    (tmp_path / "take.csv").write_text("time,jawOpen\n0,x\n")
    options = ProcessOptions(tmp_path / "v.mp4", tmp_path / "out", expressions=tmp_path / "take.csv")
    with pytest.raises(UserError, match="jawOpen is 'x' in row 1"):
        pipeline.process_video(options)
    assert not (tmp_path / "out").exists()


def test_columns_without_names_are_named(tmp_path):
    """52 unnamed columns: a basis that nothing drives, said so; ARKit's with --names."""
    tracked_folder(tmp_path / "data")
    np.save(tmp_path / "bs.npy", np.random.default_rng(0).uniform(0, 1, (12, 52)).astype(np.float32))
    options = ProcessOptions(tmp_path / "v.mp4", tmp_path / "data", expressions=tmp_path / "bs.npy")
    summary, warnings = expression_step.run(options, {"source_frames": 12}, lambda *_: None)
    assert summary["basis"] == "custom" and "--names arkit52 or --names mediapipe52" in warnings[0]
    summary, warnings = expression_step.run(replace(options, names="arkit52"), {"source_frames": 12}, lambda *_: None)
    assert summary["basis"] == "arkit52" and warnings == []
    names = file_io.load_json(tmp_path / "data" / contract.EXPRESSION_NAMES)
    assert names["basis"] == "arkit52" and names["names"][17] == "jawOpen"


@pytest.mark.slow
def test_the_command_on_a_real_clip(tmp_path, clips_folder, landmarker_path, capsys):
    """A face-capture table at 60 rows a second, begun 0.5 s before the video; then a table that is too short."""
    video = tmp_path / "cut.mp4"
    cut_video(clips_folder / "plain_216f_30fps.mp4", video, 20)
    lines = ["Timecode,BlendShapeCount,JawOpen,EyeBlink_L,HeadYaw"]
    # The jaw opens by 0.5 a second from the beginning of the recording on.
    lines += [f"10:00:{row // 60:02d}:{row % 60:02d}.000,61,{row / 120:.6f},0.25,9" for row in range(120)]
    (tmp_path / "take.csv").write_text("\n".join(lines))
    words = [
        "--video",
        video,
        "--landmarker",
        landmarker_path,
        "--max-size",
        "96",
        "--no-refine-poses",
        "--expressions",
    ]
    words = [*map(str, words), str(tmp_path / "take.csv"), "--output"]
    script.main([*words, str(tmp_path / "data"), "--expressions-offset", "0.5"])
    expressions = file_io.load_array(tmp_path / "data" / contract.EXPRESSIONS)
    np.testing.assert_allclose(expressions[:, 0], 0.5 * (0.5 + np.arange(20) / 30), atol=2e-3)
    np.testing.assert_allclose(expressions[:, 1], 0.25)
    names = file_io.load_json(tmp_path / "data" / contract.EXPRESSION_NAMES)
    assert names == {"basis": "arkit52", "names": ["jawOpen", "eyeBlinkLeft"]}
    with pytest.raises(SystemExit) as stop:
        script.main([*words, str(tmp_path / "other"), "--expressions-offset", "60"])
    said = capsys.readouterr().err
    assert stop.value.code == 1 and "lasts from 0 to 1.98 s but the clip needs 60.00 to" in said
    # What was finished before is kept for the next try.
    assert list(StepRecord(tmp_path / "other").steps) == ["survey", "frames"]
