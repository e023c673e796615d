import importlib.util
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console
from scipy.spatial.transform import Rotation
from video_files import shared_folder, write_video

from nerfblendshape_ns.data import contract
from nerfblendshape_ns.errors import UserError
from nerfblendshape_ns.process_data import (
    face_track,
    frame_step,
    picture_steps,
    pipeline,
    pose_step,
    survey_step,
)
from nerfblendshape_ns.process_data.landmarker_model import ModelUnavailable
from nerfblendshape_ns.process_data.options import DEFAULT_FOCAL, ProcessOptions

REPOSITORY = Path(__file__).resolve().parents[2]
NUM_FRAMES = 14
SIZE = 96


def head():
    points = np.random.default_rng(0).uniform([-7, -8, 0], [7, 8, 0], (478, 3))
    points[:, 2] = 6 - 0.08 * (points[:, :2] ** 2).sum(1)
    return points


class Tracker:
    """Stands for MediaPipe: each grey level of the test video is a frame number, and a frame number is a head pose."""

    def __init__(self, monkeypatch):
        self.lost = set()
        self.calls = 0

        @contextmanager
        def open_detector(model, single_images=False, num_faces=1):
            yield self.detect, []

        @contextmanager
        def open_face_finder(model):
            yield self.find

        monkeypatch.setattr(face_track, "open_detector", open_detector)
        for module in (survey_step, frame_step):
            monkeypatch.setattr(module, "open_face_finder", open_face_finder)
        monkeypatch.setattr(pipeline, "require_mediapipe", lambda: None)
        monkeypatch.setattr(picture_steps, "iterate_labels", self.labels)

    def detect(self, frame, milliseconds):
        self.calls += 1
        number = int(np.clip(np.rint((frame.mean() - 17.3) / 5), 0, NUM_FRAMES - 1))
        if number in self.lost:
            return []
        turn = Rotation.from_euler("yx", [2.0 * number - 14, 0.5 * number], degrees=True).as_matrix()
        camera = (head() @ turn.T) * [1, -1, -1] + [0, 0, 50.0]
        pixels = DEFAULT_FOCAL * SIZE * camera[:, :2] / camera[:, 2:] + SIZE / 2
        depth = (camera[:, 2:] - 50) * DEFAULT_FOCAL * SIZE / 50
        return [(np.concatenate([pixels, depth], 1).astype(np.float32), None)]

    def find(self, frame):
        return [(*face[:, :2].min(0).tolist(), *face[:, :2].max(0).tolist()) for face, _ in self.detect(frame, 0)]

    def labels(self, frames, points, options=None, evidence=None, start=0):
        for index in range(start, len(frames)):
            label = np.zeros(frames[index].shape[:2], np.uint8)
            label[20:70, 25:70] = 1
            label[70:80, 35:60] = 2
            label[80:, 10:] = 3
            yield label


@pytest.fixture
def tracker(monkeypatch):
    return Tracker(monkeypatch)


@pytest.fixture
def options(tmp_path):
    video = write_video(tmp_path / "talk.mp4", NUM_FRAMES, (SIZE, SIZE))
    return ProcessOptions(video, tmp_path / "dataset", crop="none", tracker="facemesh")


def process(options):
    return pipeline.process_video(options, Console(file=open(os.devnull, "w"), force_terminal=False))


def snapshot(root):
    return {path.relative_to(root): path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


def test_a_video_becomes_a_whole_dataset(tracker, options):
    document = process(options)
    root = options.output
    transforms = json.loads((root / contract.TRANSFORMS).read_text())
    assert (transforms["w"], transforms["h"], transforms["fps"]) == (SIZE, SIZE, pytest.approx(25))
    assert transforms["fl_x"] == pytest.approx(DEFAULT_FOCAL * SIZE) and transforms["cx"] == SIZE / 2
    assert len(transforms["frames"]) == NUM_FRAMES
    names = [frame["file_path"] for frame in transforms["frames"]]
    assert names == [f"images/{index:06d}.jpg" for index in range(NUM_FRAMES)]
    assert all((root / name).is_file() for name in names)
    poses = np.array([frame["transform_matrix"] for frame in transforms["frames"]])
    # The head turns by 2 degrees of yaw and 0.5 of pitch a frame, and the poses say so.
    step = Rotation.from_matrix(poses[1:, :3, :3] @ poses[:-1, :3, :3].transpose(0, 2, 1)).magnitude()
    assert np.allclose(np.degrees(step)[2:-2], np.hypot(2, 0.5), atol=0.4)
    assert document["steps"]["head pose"]["summary"]["reprojection_rms_pixels_at_512"] < 2.5
    expressions = contract.load_array(root / contract.EXPRESSIONS)
    assert expressions.shape[0] == NUM_FRAMES and expressions.dtype == np.float32
    assert contract.load_json(root / contract.EXPRESSION_NAMES)["basis"] == "landmark_pca"
    assert any("not semantic" in warning for entry in document["steps"].values() for warning in entry["warnings"])
    assert contract.load_array(root / contract.LANDMARKS).shape == (NUM_FRAMES, 478, 2)
    assert contract.load_array(root / contract.FACE_MESH).shape == (468, 3)
    label = contract.load_image(root / "parsing/000003.png", cv2.IMREAD_UNCHANGED)
    assert label.shape == (SIZE, SIZE) and set(np.unique(label)) == {0, 1, 2, 3}
    assert contract.load_image(root / contract.BACKGROUND).shape == (SIZE, SIZE, 3)
    page = (root / contract.REPORT / "index.html").read_text()
    assert page.count('src="data:image/') > 15
    matte = contract.load_image(root / "alpha/000003.png", cv2.IMREAD_UNCHANGED)
    assert matte.shape == (SIZE, SIZE) and matte[45, 45] == 255 and matte[5, 5] == 0
    assert not [path for path in root.rglob("*") if path.name.startswith(".")]


def test_a_refinement_that_strays_from_the_landmarks_is_not_taken(tracker, options, monkeypatch):
    monkeypatch.setattr(pose_step.pose_refinement, "refine_poses", lambda frames, fit, *_: fit.poses + 0.2)
    summary = process(options)["steps"]["head pose"]["summary"]
    assert summary["reprojection_rms_pixels_at_512"] == summary["reprojection_rms_pixels_at_512_landmarks_only"]


def test_poses_are_fitted_to_a_face_that_moves_with_known_coefficients(tracker, options, tmp_path):
    values = np.stack([np.arange(NUM_FRAMES) % 2, np.arange(NUM_FRAMES) % 3 / 3], axis=1).astype(np.float32)
    np.save(tmp_path / "take.npy", values)
    options = replace(options, expressions=tmp_path / "take.npy", moving_face=True)
    document = process(options)
    order = list(document["steps"])
    assert order.index("expressions") < order.index("head pose")
    moved = np.load(options.output / "head_poses.npz")["angles"]
    again = process(replace(options, moving_face=False))
    assert again["steps"]["expressions"] == document["steps"]["expressions"]  # Only the poses follow from the choice.
    still = np.load(options.output / "head_poses.npz")["angles"]
    # The face of this video is rigid.
    assert 1e-6 < np.abs(moved - still).max() < 1.0


def test_a_moving_face_needs_coefficients(tracker, options):
    with pytest.raises(UserError, match="--moving-face needs coefficients, and FaceMesh gives none; give"):
        process(replace(options, moving_face=True))
    assert not options.output.exists()
    with pytest.raises(UserError, match="--moving-face refines head poses; leave out --no-refine-poses"):
        process(replace(options, moving_face=True, refine_poses=False))


def test_a_second_run_does_nothing_again(tracker, options):
    process(options)
    before, calls = snapshot(options.output), tracker.calls
    process(options)
    after = snapshot(options.output)
    assert tracker.calls == calls
    assert {name for name in before if before[name] != after[name]} <= {Path(contract.PROCESS)}


def test_a_broken_run_goes_on_where_it_stopped(tracker, options, monkeypatch):
    with monkeypatch.context() as broken:

        def crash(*_):
            raise RuntimeError("power cut")

        broken.setattr(picture_steps, "clean_plate", crash)
        with pytest.raises(RuntimeError, match="power cut"):
            process(options)
    assert not (options.output / contract.TRANSFORMS).exists()
    calls = tracker.calls
    labels_before = snapshot(options.output / contract.PARSING)
    process(options)
    assert tracker.calls == calls
    assert snapshot(options.output / contract.PARSING) == labels_before
    assert (options.output / contract.TRANSFORMS).exists()


def test_a_crash_inside_a_step_leaves_no_half_folder(tracker, options, monkeypatch):
    whole = tracker.labels

    def half(frames, points, **more):
        for index, label in enumerate(whole(frames, points, **more)):
            if index == 5:
                raise RuntimeError("power cut")
            yield label

    monkeypatch.setattr(picture_steps, "iterate_labels", half)
    with pytest.raises(RuntimeError):
        process(options)
    assert not (options.output / contract.PARSING).exists()
    monkeypatch.setattr(picture_steps, "iterate_labels", whole)
    process(options)
    assert len(list((options.output / contract.PARSING).iterdir())) == NUM_FRAMES
    assert not (options.output / ".parsing.partial").exists()


def test_another_option_redoes_only_what_follows_from_it(tracker, options):
    process(options)
    before, calls = snapshot(options.output), tracker.calls
    options.smooth_poses = 2.0
    process(options)
    after = snapshot(options.output)
    changed = {str(name).split("/")[0] for name in before if before[name] != after[name]}
    assert tracker.calls == calls
    assert {"head_poses.npz", contract.TRANSFORMS, contract.REPORT} <= changed
    assert not changed & {contract.IMAGES, contract.PARSING, contract.BACKGROUND, "tracks_raw.npz"}


def test_no_face_in_any_frame_leaves_nothing_behind(tracker, options):
    tracker.lost = set(range(NUM_FRAMES))
    with pytest.raises(UserError, match=r"no face was found in any of the 14 frames of .*talk.mp4; use a video"):
        process(options)
    assert not options.output.exists()


def test_lost_frames_are_named_with_fail(tracker, options):
    tracker.lost = {4, 5, 9}
    options.on_missing = "fail"
    with pytest.raises(UserError, match=r"lost in 3 of 14 frames of .* \(frames 4-5, 9\).*--on-missing drop"):
        process(options)
    assert not options.output.exists()


def test_lost_frames_are_dropped_by_default(tracker, options):
    tracker.lost = {4, 5}
    document = process(options)
    transforms = json.loads((options.output / contract.TRANSFORMS).read_text())
    assert [frame["img_id"] for frame in transforms["frames"]] == list(range(12))
    assert len(list((options.output / contract.IMAGES).iterdir())) == 12
    assert contract.load_array(options.output / contract.EXPRESSIONS).shape[0] == 12
    # Image 4 is now the video's frame 6.
    fourth = contract.load_image(options.output / "images/000004.jpg").mean()
    assert fourth == pytest.approx(20 + 5 * 6, abs=4)
    warnings = document["steps"]["landmarks"]["warnings"]
    assert warnings == ["The face was lost in 2 of 14 frames: frames 4-5; they are left out."]


def test_lost_frames_are_interpolated_on_request(tracker, options):
    tracker.lost = {6}
    options.on_missing = "interpolate"
    process(options)
    points = contract.load_array(options.output / contract.LANDMARKS)
    assert points.shape[0] == NUM_FRAMES
    assert np.allclose(points[6], (points[5] + points[7]) / 2, atol=1e-3)


def test_too_few_frames_with_a_face(tracker, options):
    tracker.lost = set(range(8))
    with pytest.raises(UserError, match="a face was found in only 6 of 14 frames and at least 10 are needed"):
        process(options)
    assert not options.output.exists()


def test_a_dataset_that_was_there_survives_a_bad_run(tracker, options):
    process(options)
    before = snapshot(options.output)
    options.video = options.video.with_name("missing.mp4")
    with pytest.raises(UserError, match="missing.mp4 does not exist"):
        process(options)
    assert snapshot(options.output) == before


def test_without_a_model_the_bundled_face_mesh_serves(monkeypatch, options):
    def nowhere(path):
        raise ModelUnavailable("no network")

    monkeypatch.setattr(pipeline, "find_landmarker", nowhere)
    options.tracker = "auto"
    model, notes = pipeline.choose_tracker(options)
    assert model is None and "no network" in notes[0] and "FaceMesh" in notes[0]
    options.tracker = "landmarker"
    with pytest.raises(UserError, match=r"cannot be had \(no network\); give the file with --landmarker"):
        pipeline.choose_tracker(options)


def test_the_command_tells_errors_in_one_sentence(tmp_path):
    command = [sys.executable, "-m", "nerfblendshape_ns.scripts.process_data"]
    command += ["--video", "none.mp4", "--output", "out"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == "error: none.mp4 does not exist; give the path of a video file with --video."
    assert not (tmp_path / "out").exists()


def test_a_video_is_found_by_name(tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("process_by_name", REPOSITORY / "data_utils" / "process.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    (tmp_path / "data" / "vids").mkdir(parents=True)
    (tmp_path / "data" / "vids" / "other.mp4").write_text("no video")
    monkeypatch.chdir(tmp_path)
    for name, message in (
        ("person", "there is no video person in data/vids (it holds other.mp4); put person.mp4 there."),
        ("other", "data/vids/other.mp4 is not a video that can be decoded; convert it to mp4 (H.264) and try again."),
    ):
        with pytest.raises(SystemExit) as stopped:
            script.main([name])
        assert stopped.value.code == 1
        assert capsys.readouterr().err.strip() == f"error: {message}"
    seen = []
    monkeypatch.setattr(script, "process_data", seen.append)
    script.main(["other", "--fps", "25"])
    assert seen == [["--video", "data/vids/other.mp4", "--output", "data/other", "--fps", "25"]]


def check_tracked(root, num_frames, document):
    summary = document["steps"]["head pose"]["summary"]
    assert document["steps"]["landmarks"]["summary"]["frames_with_face"] == num_frames
    assert summary["reprojection_rms_pixels_at_512"] <= 2.5
    transforms = json.loads((root / contract.TRANSFORMS).read_text())
    assert len(transforms["frames"]) == num_frames
    names = contract.load_json(root / contract.EXPRESSION_NAMES)
    assert names["basis"] == "arkit52" and names["names"][0] == "_neutral" and len(names["names"]) == 52


@pytest.mark.slow
def test_a_real_clip(landmarker_path, clips_folder, tmp_path):
    pytest.importorskip("mediapipe")
    video = next(clips_folder.glob("selfie*"))
    options = ProcessOptions(
        video, tmp_path / "out", max_frames=20, max_size=256, landmarker=landmarker_path, tracker="landmarker"
    )
    document = process(options)
    check_tracked(options.output, 20, document)
    transforms = json.loads((options.output / contract.TRANSFORMS).read_text())
    # A portrait phone video is cropped to a square, so its principal point is off the picture's centre.
    assert transforms["w"] == transforms["h"] == 256 and transforms["cy"] != 128
    mesh = contract.load_array(options.output / contract.FACE_MESH)
    assert 10 < np.ptp(mesh[:, 0]) < 20
    areas = document["steps"]["segmentation"]["summary"]["areas"]
    assert 0.2 < areas["head"] < 0.6


@pytest.mark.slow
def test_a_synthetic_head_is_tracked_like_a_real_one(tmp_path):
    """The whole chain without any real face: render a video, process it, compare with the poses it was made from."""
    pytest.importorskip("mediapipe")
    from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset

    truth, video = tmp_path / "truth", tmp_path / "head.mp4"
    write_dataset(ClipSettings(num_frames=24, width=512, height=512, samples=1), truth, video)
    model = shared_folder() / "models" / "face_landmarker.task"
    options = ProcessOptions(video, tmp_path / "out", landmarker=model if model.is_file() else None)
    document = process(options)
    found = np.array(
        [f["transform_matrix"] for f in json.loads((options.output / contract.TRANSFORMS).read_text())["frames"]]
    )
    exact = np.array([f["transform_matrix"] for f in json.loads((truth / contract.TRANSFORMS).read_text())["frames"]])
    assert len(found) >= 23
    assert document["steps"]["head pose"]["summary"]["reprojection_rms_pixels_at_512"] <= 3.0
    if len(found) == len(exact):
        # Where the two sets of head axes lie against each other is a convention: compare the motion about its mean.
        offset = Rotation.from_matrix(found[:, :3, :3] @ exact[:, :3, :3].transpose(0, 2, 1)).mean().as_matrix()
        error = Rotation.from_matrix((offset @ exact[:, :3, :3]).transpose(0, 2, 1) @ found[:, :3, :3]).magnitude()
        assert np.degrees(np.sqrt((error**2).mean())) < 4.0
