import numpy as np
import pytest

from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.steps import survey_step
from nerfblendshape_ns.process_data.video.frames import VideoInfo

FPS, SECONDS = 25, 1200


@pytest.mark.parametrize(
    "start, end, expected",
    [(None, 2.0, 48), (600.0, 603.84, 48), (1196.16, None, 48), (0.0, 100.0, 100), (600.0, 601.0, 25)],
)
def test_faces_are_looked_for_as_often_in_a_part_as_in_a_video_of_its_length(
    tmp_path, monkeypatch, start, end, expected
):
    def decode(path, start, end):
        for number in range(round(FPS * (start or 0.0)), round(FPS * (end or SECONDS))):
            yield number, number / FPS, np.full((8, 8, 3), number % 200, np.uint8)

    monkeypatch.setattr(survey_step, "FaceFinder", lambda model: lambda frame: [])
    monkeypatch.setattr(survey_step.video_frames, "decode", decode)
    options = ProcessOptions(tmp_path / "a.mp4", tmp_path, start=start, end=end)
    info = VideoInfo(options.video, 8, 8, float(FPS), FPS * SECONDS)
    totals = []
    survey = survey_step.measure_video(options, info, tmp_path, lambda amount, total=None: totals.append(total))
    assert abs(len(survey.probes) - expected) <= 2
    assert totals[0] == len(survey.times)
