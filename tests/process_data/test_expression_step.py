"""The step that writes coefficients: fitted to landmarks that are believed."""

import numpy as np
import pytest
from linear_face import CAMERA, FRAMES, MISSED, clip

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.arrays import save_arrays
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.pose.pose_geometry import FRONTAL
from nerfblendshape_ns.process_data.steps import expression_step
from nerfblendshape_ns.process_data.steps.frame_step import FRAMES as FRAMES_FILE
from nerfblendshape_ns.process_data.steps.pose_step import HEAD_POSES
from nerfblendshape_ns.process_data.steps.track_step import TRACKS_RAW

SLIP = 30
FRAME_INFO = {"width": 512, "height": 512, "centre_x": CAMERA.centre_x, "centre_y": CAMERA.centre_y}


FACE, LANDMARKS = 468, 478


def written(root, slip, trust=1.0, turning=()):
    """Coefficients and summary where the landmarks of a frame are off by so many pixels; see ``clip``."""
    given, _ = clip(LANDMARKS, turning)
    root.mkdir()
    landmarks = np.concatenate([given["observed"], np.zeros_like(given["observed"][..., :1])], axis=-1)
    landmarks[SLIP, :, :2] += slip
    coefficients = np.zeros((FRAMES, 52))
    coefficients[:, 1:5] = given["coefficients"]
    save_arrays(
        root / TRACKS_RAW,
        landmarks=landmarks,
        coefficients=coefficients,
        found=np.ones(FRAMES, bool),
        kept_frames=np.arange(FRAMES),
        breaks=np.zeros(FRAMES, bool),
    )
    trusts = np.ones(FRAMES)
    trusts[SLIP] = trust
    head = {
        "mesh": given["mesh"][:FACE],
        "poses": given["poses"],
        "reference": FRONTAL,
        "focal": np.array(CAMERA.focal),
    }
    save_arrays(root / HEAD_POSES, trust=trusts, **head)
    summary, warnings = expression_step.run(ProcessOptions(root / "v.mp4", root), FRAME_INFO, lambda *_: None)
    assert [warning.split(":")[0] for warning in warnings] == ["Only 4 of 52 coefficients move"]
    return file_io.load_array(root / contract.EXPRESSIONS), summary


def test_coefficients_follow_the_landmarks(tmp_path):
    values, summary = written(tmp_path / "data", 0.0)
    raw = file_io.load_array(tmp_path / "data" / expression_step.EXPRESSIONS_RAW)
    assert np.abs(values - raw)[MISSED, 3].mean() > 0.15 and values.min() >= 0 and values.max() <= 1
    assert (values[:, 5:] == 0).all()
    assert summary["landmarks_rms_pixels_at_512"] < 0.3 * summary["landmarks_rms_pixels_at_512_tracked"]
    assert summary["landmarks_rms_pixels_at_512_tracked"] > 1.0 and summary["change_rms_deviations"] > 0.1


def test_gaze_follows_the_irises(tmp_path):
    values, _ = written(tmp_path / "data", 0.0, turning=contract.IRIS_LANDMARKS)
    _, truth = clip(LANDMARKS)
    tracked, error = 0.5, np.abs(values[:, 3] - truth[:, 2])[MISSED].mean()
    assert error < 0.6 * np.abs(tracked - truth[MISSED, 2]).mean()


@pytest.mark.parametrize("trust", [1e-4, 0.0])
def test_a_slip_of_the_tracker_spoils_no_other_frame(tmp_path, trust):
    expected, _ = written(tmp_path / "still", 0.0, trust)
    values, _ = written(tmp_path / "slipped", 80.0, trust)
    others = np.arange(FRAMES) != SLIP
    np.testing.assert_allclose(values[others], expected[others], atol=1e-6)
    assert np.abs(written(tmp_path / "believed", 80.0)[0] - expected)[[SLIP - 1, SLIP + 1]].max() > 0.02


def test_without_any_frame_to_believe_the_trackers_stay(tmp_path):
    given, _ = clip(LANDMARKS)
    values, _ = written(tmp_path / "data", 0.0)
    head = dict(np.load(tmp_path / "data" / HEAD_POSES))
    save_arrays(tmp_path / "data" / HEAD_POSES, **{**head, "trust": np.zeros(FRAMES)})
    expression_step.run(ProcessOptions(tmp_path / "v.mp4", tmp_path / "data"), FRAME_INFO, lambda *_: None)
    stayed = file_io.load_array(tmp_path / "data" / contract.EXPRESSIONS)
    assert np.abs(stayed[:, 1:5] - given["coefficients"]).max() < 0.1 < np.abs(stayed - values).max()


@pytest.mark.parametrize("unit", [1.0, 1e-4])
def test_what_moves_is_counted_in_the_unit_of_the_file(tmp_path, unit):
    """Coefficients of a model of one's own may be as small as they like, and have as few as they like."""
    rows = np.random.default_rng(0).normal(size=(12, 5)) * unit
    np.save(tmp_path / "own.npy", rows)
    np.save(tmp_path / contract.FRAME_TIMES, np.arange(12) / 25)
    save_arrays(tmp_path / TRACKS_RAW, kept_frames=np.arange(12))
    save_arrays(tmp_path / FRAMES_FILE, numbers=np.arange(12))
    options = ProcessOptions(tmp_path / "v.mp4", tmp_path, expressions=tmp_path / "own.npy")
    summary, warnings = expression_step.run(options, {"source_frames": 12}, lambda *_: None)
    assert (summary["moving"], summary["coefficients"]) == (5, 5) and not any("move:" in text for text in warnings)
