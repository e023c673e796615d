"""Masks against their visual hull."""

import numpy as np
import pytest

from nerfblendshape_ns.check import hull
from nerfblendshape_ns.check.findings import Section, Severity
from nerfblendshape_ns.check.run import CheckOptions, check_dataset
from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.frame_numbers import spread
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParserConfig


def test_masks_that_agree(own_clip):
    root, _ = own_clip(30)
    section = hull.check_hull(NerfBlendshapeDataParserConfig(data=root))
    assert section.figures["frames_read"] == 25 and section.figures["worst_fraction"] < 0.002
    assert not section.findings
    (row,) = section.rows
    assert row[0] == "visual hull" and row[1].startswith("at most 0.")


def test_a_mask_that_disagrees_is_named(own_clip, monkeypatch):
    root, truth = own_clip(30)
    moved = np.roll(truth.labels[7], -8, axis=0)
    file_io.save_image(root / "parsing" / contract.parsing_name(7), moved)
    section = hull.check_hull(NerfBlendshapeDataParserConfig(data=root))
    (finding,) = section.findings
    assert finding.severity == Severity.WARNING and finding.topic == "masks" and finding.frames == (7,)
    assert section.figures["worst_frame"] == 7 and section.figures["worst_fraction"] > 0.01
    assert f"frame 7 with {section.figures['worst_fraction']:.1%}" in finding.message
    assert section.rows == [
        ("visual hull", f"at most {section.figures['worst_fraction']:.1%} of a mask lies outside (frame 7 of 25)")
    ]
    monkeypatch.setattr(hull, "MAX_FRAMES", 10)
    section = hull.check_hull(NerfBlendshapeDataParserConfig(data=root))
    assert section.figures["frames_read"] == 10 and 7 not in spread(25, 10) and not section.findings


def test_frames_without_a_head_do_not_disagree(own_clip):
    """Two of 25 are more than the 5 % of the masks that may leave a point out."""
    root, truth = own_clip(30)
    for frame in (3, 11):
        file_io.save_image(root / "parsing" / contract.parsing_name(frame), 0 * truth.labels[frame])
    section = hull.check_hull(NerfBlendshapeDataParserConfig(data=root))
    assert section.figures["frames_read"] == 25 and section.figures["worst_fraction"] < 0.002
    assert not section.findings


@pytest.mark.parametrize("estimate", [True, False])
def test_the_hull_is_part_of_the_check(own_clip, monkeypatch, estimate):
    root, _ = own_clip(30)
    monkeypatch.setattr("nerfblendshape_ns.check.run._estimate", lambda config: Section("estimate"))
    names = [section.name for section in check_dataset(CheckOptions(root, estimate=estimate)).sections]
    assert ("hull" in names) == estimate


def test_masks_without_a_hull_are_an_error(own_clip):
    root, truth = own_clip(30)
    for frame in range(30):
        file_io.save_image(root / "parsing" / contract.parsing_name(frame), 0 * truth.labels[frame])
    (finding,) = hull.check_hull(NerfBlendshapeDataParserConfig(data=root)).findings
    assert finding.severity == Severity.ERROR
