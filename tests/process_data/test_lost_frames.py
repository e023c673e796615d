"""Frames without a face: named, dropped, interpolated, or too many."""

import json

import numpy as np
import pytest
from stand_in_tracker import NUM_FRAMES, process, snapshot

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.process_data.steps import frame_step
from nerfblendshape_ns.process_data.steps.step_record import StepRecord
from nerfblendshape_ns.process_data.steps.survey_step import Survey
from nerfblendshape_ns.process_data.video.shots import Changes

BOX = (20.0, 20.0, 60.0, 70.0)


def finished(options):
    assert not (options.output / contract.TRANSFORMS).exists()
    return list(StepRecord(options.output).steps)


def test_no_face_in_any_frame_leaves_the_survey(tracker, options):
    tracker.lost = set(range(NUM_FRAMES))
    with pytest.raises(UserError, match=r"no face was found in any of the 14 frames of .*talk.mp4; use a video"):
        process(options)
    assert finished(options) == ["survey"]


def test_a_long_video_without_a_face_is_not_searched_frame_by_frame(tracker, options, monkeypatch):
    monkeypatch.setattr(frame_step, "MOST_PROBES", 5)
    tracker.lost = set(range(NUM_FRAMES))
    with pytest.raises(UserError, match=r"the 5 frames of .*talk.mp4 that were looked at, one in 3; use a video"):
        process(options)
    probed_once = tracker.calls - 5
    assert probed_once == NUM_FRAMES, "the survey looks at all of a short video"


def test_a_face_that_the_survey_missed_is_found_where_it_is(options, monkeypatch):
    monkeypatch.setattr(frame_step, "MOST_PROBES", 5)
    monkeypatch.setattr(frame_step, "FaceFinder", lambda model: lambda frame: [BOX] if 62 < frame.mean() < 68 else [])
    times = np.arange(NUM_FRAMES) / 25
    changes = Changes(*np.zeros((4, NUM_FRAMES)))
    survey = Survey(np.arange(NUM_FRAMES), times, changes, np.array([0]), [[]], None)
    found = frame_step.probe_again(options, options.video, survey, lambda amount, total=None: None)
    assert found.probes.tolist() == [9] and found.faces == [[BOX]]


def test_lost_frames_are_named_with_fail(tracker, options):
    tracker.lost = {4, 5, 9}
    options.on_missing = "fail"
    with pytest.raises(UserError, match=r"lost in 3 of 14 frames of .* \(frames 4-5, 9\).*--on-missing drop"):
        process(options)
    assert finished(options) == ["survey", "frames"]


def test_lost_frames_are_dropped_by_default(tracker, options):
    tracker.lost = {4, 5}
    document = process(options)
    transforms = json.loads((options.output / contract.TRANSFORMS).read_text())
    assert [frame["img_id"] for frame in transforms["frames"]] == list(range(12))
    assert len(list((options.output / contract.IMAGES).iterdir())) == 12
    assert file_io.load_array(options.output / contract.EXPRESSIONS).shape[0] == 12
    # Image 4 is now the video's frame 6.
    fourth = file_io.load_image(options.output / "images/000004.jpg").mean()
    assert fourth == pytest.approx(20 + 5 * 6, abs=4)
    warnings = document["steps"]["landmarks"]["warnings"]
    assert warnings == ["The face was lost in 2 of 14 frames: frames 4-5; they are left out."]


def test_lost_frames_are_interpolated_on_request(tracker, options):
    tracker.lost = {6}
    options.on_missing = "interpolate"
    process(options)
    points = file_io.load_array(options.output / contract.LANDMARKS)
    assert points.shape[0] == NUM_FRAMES
    assert np.allclose(points[6], (points[5] + points[7]) / 2, atol=1e-3)


def test_too_few_frames_with_a_face(tracker, options):
    tracker.lost = set(range(8))
    with pytest.raises(UserError, match="a face was found in only 6 of 14 frames and at least 10 are needed"):
        process(options)
    assert finished(options) == ["survey", "frames"]


def test_a_dataset_that_was_there_survives_a_bad_run(tracker, options):
    process(options)
    before = snapshot(options.output)
    options.video = options.video.with_name("missing.mp4")
    with pytest.raises(UserError, match="missing.mp4 does not exist"):
        process(options)
    assert snapshot(options.output) == before
