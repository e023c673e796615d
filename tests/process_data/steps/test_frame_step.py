import re

import numpy as np
import pytest
from video_files import chequer, write_video

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.process_data.face.face_choice import FaceSequence
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.steps.frame_step import (
    Shot,
    _describe_variable,
    break_flags,
    choose_shot,
    describe_repeats,
    write_images,
)
from nerfblendshape_ns.process_data.steps.survey_step import Survey
from nerfblendshape_ns.process_data.video.crop import FrameWindow
from nerfblendshape_ns.process_data.video.frame_selection import select_frames
from nerfblendshape_ns.process_data.video.shots import ChangeMeter


def test_a_shot_counts_as_long_as_its_subject_is_seen():
    times = np.arange(100) / 25
    subject = FaceSequence([0.0, 1.0], [(0, 0, 1, 1)] * 2)
    # 70 frames last 2.76 seconds; the subject is in two of twenty probed frames.
    assert Shot(np.arange(70), [subject], 20).seconds_with_face(times) == pytest.approx(0.276)
    assert Shot(np.arange(70, 100), [subject], 2).seconds_with_face(times) == pytest.approx(29 / 25)
    assert Shot(np.arange(70), [], 20).seconds_with_face(times) == 0


def test_frames_that_are_written_several_times_are_told():
    at_60 = select_frames(np.arange(240) / 60)
    change = np.where(np.arange(240) % 4, 0.05, 1.2)
    assert describe_repeats(at_60, change) == ["180 of 240 frames repeat the one before; --fps 15 leaves them out."]
    # Between the frames that are left lies more than the change to the frame before.
    at_15 = select_frames(np.arange(240) / 60, 15)
    assert describe_repeats(at_15, change[at_15.indices]) == []
    still = np.linspace(0.1, 0.3, 240)
    assert (still < 0.15).mean() > 0.2 and describe_repeats(at_60, still - 0.04) == []
    assert describe_repeats(at_60, np.zeros(240)) == []


def test_repeats_in_one_stretch_are_not_left_out_by_a_lower_frame_rate():
    selection = select_frames(np.arange(300) / 30)
    change = np.where(np.arange(300) < 150, 1.2, 0.0)
    assert describe_repeats(selection, change) == [
        "150 of 300 frames repeat the one before: the picture stands still for a while. Nothing is learnt there; "
        "cut it out if it is long."
    ]
    # 25 pictures a second written as 60, two or three times each.
    uneven = np.diff(np.arange(300) * 25 // 60, prepend=-1) * 1.2
    assert describe_repeats(select_frames(np.arange(300) / 60), uneven)[0].endswith("; --fps 25 leaves them out.")


def test_a_recording_with_pauses_says_how_many_frames_are_its_own():
    times = np.cumsum(np.where(np.arange(300) % 10, 1 / 30, 1.0))
    told = _describe_variable(select_frames(times))
    assert re.search(r"30 evenly .* taken, (\d+) of which repeat .* none: of its own are 300\. Pass --fps", told), told


def test_motion_is_interrupted_by_a_jump_even_where_its_frame_is_left_out():
    positions = np.array([4, 6, 8, 10, 12])
    assert np.flatnonzero(break_flags(positions, np.array([2, 7, 12]))).tolist() == [2, 4]
    # A jump before the first frame, or at it, interrupts nothing.
    assert not break_flags(positions, np.array([3, 4])).any()


@pytest.mark.parametrize("on_cut", ["longest", "refuse"])
def test_a_stray_first_frame_is_no_scene(on_cut, tmp_path):
    other, first = np.random.default_rng(0).integers(30, 220, (2, 8, 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    meter = ChangeMeter()
    for picture in [other] + [first] * 20:
        meter.add(picture)
    faces = [[(10.0, 10.0, 50.0, 50.0)]] * 21
    survey = Survey(np.arange(21), np.arange(21) / 25, meter.changes(), np.arange(21), faces, None)
    warnings = []
    shot, jumps = choose_shot(ProcessOptions(tmp_path / "a.mp4", tmp_path, on_cut=on_cut), survey, 64, warnings)
    assert shot.frames.tolist() == list(range(1, 21)) and len(jumps) == 0
    assert warnings == [
        "Black frames, fades and stray frames of another scene are left out: the first 0.04 s of the video."
    ]


def test_images_that_an_interrupted_run_took_from_another_video_are_not_kept(tmp_path):
    window, numbers = FrameWindow(0, 0, 96, 96, 96, 96), np.arange(12)
    dark, light = (
        write_video(tmp_path / f"{level}.mp4", 12, picture=lambda _, level=level: chequer(level, (96, 96)))
        for level in (60, 180)
    )
    done = 0

    def interrupt(amount, total=None):
        nonlocal done
        done += amount
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_images(ProcessOptions(dark, tmp_path / "data"), numbers, window, interrupt)
    assert list((tmp_path / "data" / ".images.partial").glob("0*.jpg"))
    write_images(ProcessOptions(light, tmp_path / "data"), numbers, window, lambda amount, total=None: None)
    images = [file_io.load_image(path) for path in sorted((tmp_path / "data" / "images").iterdir())]
    assert len(images) == 12 and min(image.mean() for image in images) > 150
