"""Every layout that training reads is checked, whole and damaged."""

import pytest
from layout_clips import write_insta, write_nerface, write_official, write_radnerf, write_unofficial_with_traps

from nerfblendshape_ns.check.findings import Severity
from nerfblendshape_ns.check.run import CheckOptions, check_dataset
from nerfblendshape_ns.data.layouts import read_clip

WRITERS = {
    "unofficial": write_unofficial_with_traps,
    "radnerf": write_radnerf,
    "official": write_official,
    "insta": write_insta,
    "nerface": write_nerface,
}


def errors(report) -> list:
    return [finding.message for finding in report.findings if finding.severity == Severity.ERROR]


@pytest.mark.parametrize("layout", WRITERS)
def test_a_whole_clip_of_each_layout(tmp_path, layout):
    WRITERS[layout](tmp_path)
    report = check_dataset(CheckOptions(tmp_path, estimate=False))
    figures = report.as_dict()
    assert not errors(report) and figures["clip"]["layout"] == layout
    assert figures["masks"]["areas"]["head"]["mean"] > 0.1 and figures["poses"]["outliers"] == []
    clip = read_clip(tmp_path)
    reported = [finding.message for finding in report.findings if finding.topic == "layout"]
    assert len(reported) == len(clip.notes)


@pytest.mark.parametrize("layout", WRITERS)
def test_a_damaged_clip_of_each_layout(tmp_path, layout):
    WRITERS[layout](tmp_path)
    clip = read_clip(tmp_path)
    for position in (4, 6):
        clip.frames[position].files.image.unlink()
    clip.frames[9].files.image.write_bytes(b"garbage")
    report = check_dataset(CheckOptions(tmp_path, estimate=False))
    assert report.exit_status() == 2
    reported = "\n".join(errors(report))
    first, second = (clip.frames[position].files.image for position in (4, 6))
    assert f"2 images are missing in {first.parent.name}/: {first.name}, {second.name}" in reported
    assert "1 image is unreadable" in reported
