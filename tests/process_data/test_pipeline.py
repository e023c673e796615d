"""From a video to a dataset, with a stand-in for MediaPipe: steps, resumption, errors."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from stand_in_tracker import BLINK_LEFT, BLINK_RIGHT, JAW_OPEN, NUM_FRAMES, SIZE, process, snapshot
from threadpoolctl import threadpool_info, threadpool_limits

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.fetching import CACHE_VARIABLE
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.process_data import pipeline
from nerfblendshape_ns.process_data.networks.model_files import LANDMARKER, PERSON_MASK
from nerfblendshape_ns.process_data.options import DEFAULT_FOCAL
from nerfblendshape_ns.process_data.steps import frame_step, image_steps, pose_step

REPOSITORY = Path(__file__).resolve().parents[2]


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
    expressions = file_io.load_array(root / contract.EXPRESSIONS)
    assert expressions.shape[0] == NUM_FRAMES and expressions.dtype == np.float32
    assert file_io.load_json(root / contract.EXPRESSION_NAMES)["basis"] == "arkit52"
    # The jaw opens from frame to frame; left and right are not exchanged by the mirrored passes.
    raw = file_io.load_array(root / "expr_raw.npy")
    assert np.allclose(raw[3:-3, JAW_OPEN], np.arange(3, NUM_FRAMES - 3) / NUM_FRAMES, atol=0.02)
    # The drawn face does not move with them, so that the fit to its landmarks changes them little.
    assert np.allclose(expressions[:, JAW_OPEN], raw[:, JAW_OPEN], atol=0.12)
    fit = document["steps"]["expressions"]["summary"]
    assert fit["landmarks_rms_pixels_at_512"] <= fit["landmarks_rms_pixels_at_512_tracked"] < 2.0
    assert raw[1, BLINK_LEFT] == 1 and raw[0, BLINK_LEFT] == 0 and np.all(raw[:, BLINK_RIGHT] == 0.25)
    assert 0 <= expressions.min() and expressions.max() <= 1
    assert file_io.load_array(root / contract.LANDMARKS).shape == (NUM_FRAMES, 478, 2)
    assert file_io.load_array(root / contract.FACE_MESH).shape == (468, 3)
    label = file_io.load_image(root / "parsing/000003.png", cv2.IMREAD_UNCHANGED)
    assert label.shape == (SIZE, SIZE) and set(np.unique(label)) == {0, 1, 2, 3}
    assert file_io.load_image(root / contract.BACKGROUND).shape == (SIZE, SIZE, 3)
    page = (root / contract.REPORT / "index.html").read_text()
    assert page.count('src="data:image/') > 15
    matte = file_io.load_image(root / "alpha/000003.png", cv2.IMREAD_UNCHANGED)
    assert matte.shape == (SIZE, SIZE) and matte[45, 45] == 255 and matte[5, 5] == 0
    assert not [path for path in root.rglob("*") if path.name.startswith(".")]


def test_a_refinement_that_strays_from_the_landmarks_is_not_taken(tracker, options, monkeypatch):
    monkeypatch.setattr(pose_step.pose_refinement, "refine_poses", lambda frames, fit, *_: fit.poses + 0.2)
    summary = process(options)["steps"]["head pose"]["summary"]
    assert summary["reprojection_rms_pixels_at_512"] == summary["reprojection_rms_pixels_at_512_landmarks_only"]


@pytest.mark.parametrize(
    "refined, landmarks, strays",
    [(2.3, 0.5, False), (2.5, 0.5, True), (2.9, 2.43, False), (3.7, 2.43, True), (4.5, 2.65, True)],
)
def test_rough_landmarks_may_be_left_somewhat_farther(refined, landmarks, strays):
    assert pose_step.strays(refined, landmarks) is strays


def test_linear_algebra_has_one_thread(tracker, options, monkeypatch):
    def most_threads():
        return max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")

    seen, plate = [], image_steps.clean_plate
    monkeypatch.setattr(image_steps, "clean_plate", lambda *given: seen.append(most_threads()) or plate(*given))
    with threadpool_limits(2, user_api="blas"):
        process(options)
        assert seen == [1] and most_threads() == 2


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

        broken.setattr(image_steps, "clean_plate", crash)
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

    def half(*arguments, **more):
        for index, label in enumerate(whole(*arguments, **more)):
            if index == 5:
                raise RuntimeError("power cut")
            yield label

    monkeypatch.setattr(image_steps, "iterate_labels", half)
    with pytest.raises(RuntimeError):
        process(options)
    assert not (options.output / contract.PARSING).exists()
    monkeypatch.setattr(image_steps, "iterate_labels", whole)
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


@pytest.mark.parametrize("wrong", [{"start": 1000.0}, {"on_cut": "refuse"}])
def test_an_option_that_is_refused_costs_no_dataset(tracker, options, monkeypatch, wrong):
    record, before = process(options), snapshot(options.output)
    transforms = (options.output / contract.TRANSFORMS).read_text()
    with monkeypatch.context() as cut:
        cut.setattr(frame_step.shots, "find_shots", lambda *_: [range(5), range(5, NUM_FRAMES)])
        with pytest.raises(UserError, match="start|is cut at"):
            process(dataclasses.replace(options, **wrong))
    assert (options.output / contract.TRANSFORMS).read_text() == transforms
    assert file_io.load_json(options.output / contract.PROCESS) == json.loads(json.dumps(record))
    after, calls = snapshot(options.output), tracker.calls
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {Path(contract.PROCESS), Path(contract.TRANSFORMS)}
    process(options)
    assert tracker.calls == calls


def test_what_a_step_has_replaced_does_not_pass_for_the_dataset_before(tracker, options, monkeypatch):
    process(options)

    def crash(*_, **__):
        raise RuntimeError("power cut")

    monkeypatch.setattr(frame_step, "save_arrays", crash)
    with pytest.raises(RuntimeError, match="power cut"):
        process(dataclasses.replace(options, max_size=64))
    assert not (options.output / contract.TRANSFORMS).exists()


def test_without_a_model_the_message_says_what_to_do(tracker, options, monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    options.offline = True
    for model, network in ((PERSON_MASK, "person mask"), (LANDMARKER, "Face Landmarker")):
        monkeypatch.delenv(model.variable, raising=False)
        monkeypatch.setattr(pipeline, "LANDMARKER" if model is LANDMARKER else "PERSON_MASK", model)
        with pytest.raises(UserError, match=rf"{network} .*fetched offline.*with {model.option} or NBS_"):
            process(options)
    assert not options.output.exists()


def test_the_command_tells_errors_in_one_sentence(tmp_path):
    command = [sys.executable, "-m", "nerfblendshape_ns.scripts.process_data"]
    command += ["--video", "none.mp4", "--output", "out"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == "error: none.mp4 does not exist; give the path of a video file."
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
    (tmp_path / "data" / "vids" / "IMG_0042.MOV").write_text("a phone's")
    script.main(["IMG_0042"])
    assert seen[1:] == [["--video", "data/vids/IMG_0042.MOV", "--output", "data/IMG_0042"]]
