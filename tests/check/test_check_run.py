"""Whole datasets: nothing stops at the first problem, and every problem gets its own words."""

import json
from pathlib import Path
from typing import List

import cv2
import numpy as np
import pytest
from PIL import Image

from nerfblendshape_ns.check import run
from nerfblendshape_ns.check.findings import Finding, Section, Severity
from nerfblendshape_ns.check.run import CheckOptions, check_dataset
from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.scripts.check_data import main


def check(root: Path, **options):
    return check_dataset(CheckOptions(root, estimate=False, **options))


def of(report, severity: Severity) -> List[str]:
    return [finding.message for finding in report.findings if finding.severity == severity]


def only(report, words: str) -> Finding:
    found = [finding for finding in report.findings if words in finding.message]
    assert len(found) == 1, [finding.message for finding in report.findings]
    return found[0]


def edit(root: Path, change) -> None:
    path = root / contract.TRANSFORMS
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def edit_expressions(root: Path, change) -> None:
    path = root / contract.EXPRESSIONS
    values = np.load(path)
    np.save(path, change(values))


def test_a_sound_clip(own_clip):
    root, _ = own_clip(30)
    report = check(root)
    figures = report.as_dict()
    assert figures["usable"] and report.exit_status() == 0 and not of(report, Severity.ERROR)
    assert figures["clip"] == {
        "layout": "own",
        "frames": 30,
        "width": 96,
        "height": 96,
        "fps": 25.0,
        "seconds": 1.2,
        "first": 0,
        "last": 29,
        "gaps": [],
        "view_angle_degrees": pytest.approx(2 * np.degrees(np.arctan(96 / 2 / 150))),
    }
    assert figures["splits"]["train"] == {"frames": 25, "first": 0, "last": 24}
    assert figures["splits"]["test"] == {"frames": 3, "first": 27, "last": 29}
    assert figures["files"]["count"] == 60
    assert figures["expressions"]["dead"] == ["_neutral", "cheekPuff"]
    assert figures["poses"]["yaw_range_degrees"] == pytest.approx([-20, 20], abs=0.01)
    assert figures["poses"]["outliers"] == [] and figures["masks"]["jumps"] == []
    # A ball of radius 10 round (0.5, 1, -2), with 5 % room on each side.
    box = np.array([figures["head_box"]["low"], figures["head_box"]["high"]])
    np.testing.assert_allclose(box[:, 0], [0.5 - 11, 0.5 + 11], atol=0.6)
    assert "only 25 frames to train on" in of(report, Severity.WARNING)[0]


def test_the_unofficial_layout(unofficial_clip):
    root, _ = unofficial_clip(30)
    report = check(root)
    assert not of(report, Severity.ERROR)
    assert report.as_dict()["clip"]["layout"] == "unofficial"
    assert only(report, "the numbers run from 3 to 33").frames == (8,)


def test_all_problems_are_reported_at_once(own_clip):
    root, truth = own_clip(40, mesh=False)
    for frame in (3, 4, 5, 20):
        (root / "images" / contract.image_name(frame)).unlink()
    (root / "images" / contract.image_name(9)).write_bytes(b"")
    whole = (root / "images" / contract.image_name(10)).read_bytes()
    (root / "images" / contract.image_name(10)).write_bytes(whole[: len(whole) // 2])
    (root / "images" / contract.image_name(11)).write_bytes(b"garbage")
    cv2.imwrite(str(root / "images" / contract.image_name(12)), np.zeros((50, 60, 3), np.uint8))
    (root / "parsing" / contract.parsing_name(13)).unlink()
    cv2.imwrite(str(root / "parsing" / contract.parsing_name(14)), truth.labels[14] * 60)
    cv2.imwrite(str(root / "parsing" / contract.parsing_name(15)), np.repeat(truth.labels[15][..., None], 3, -1))

    def spoil(document):
        document["frames"][22]["transform_matrix"] = [[1, 2], [3, 4]]
        document["frames"][24]["transform_matrix"] = (2 * np.eye(4)).tolist()
        document["frames"][25]["transform_matrix"] = (2 * np.eye(4)).tolist()
        document["frames"][26]["face_rect"] = [1, 2]

    edit(root, spoil)

    def not_a_number(values):
        values[30:32] = np.nan
        values[33, 1] = np.inf
        return values

    edit_expressions(root, not_a_number)
    report = check(root)
    assert report.exit_status() == 2
    missing = only(report, "4 images are missing in images/: 000003.jpg, 000004.jpg, 000005.jpg, 000020.jpg")
    assert missing.frames == (3, 4, 5, 20) and "restore the files" in missing.action
    assert only(report, "1 image is empty in images/: 000009.jpg")
    assert only(report, "1 image is cut short in images/: 000010.jpg")
    assert only(report, "1 image is unreadable in images/: 000011.jpg")
    assert only(report, "1 image of another size than the clip's 96x96: 1 of 60x50 (frame 12)").frames == (12,)
    assert only(report, "1 label file is missing in parsing/: 000013.png")
    assert only(report, "parsing/000014.png is not an 8-bit single-channel image of the labels 0 to 4")
    assert only(report, "1 label file not stored as 8-bit single-channel values (Pillow names RGB)").frames == (15,)
    assert only(report, "frame 22 has a 'transform_matrix' that is not 4x4")
    assert only(report, "frame 24 has a 'transform_matrix' whose upper 3x3 part is not a rotation").frames == (24, 25)
    assert only(report, "'face_rect' of frame 26 is not four numbers")
    bad = only(report, "13 values that are not finite, the first at frame 30, coefficient 0 (jawOpen)")
    assert "they are in frames 30-31, 33" in bad.message
    assert all(finding.severity == Severity.ERROR for finding in report.findings[:12])
    # What is whole is still looked at.
    assert {"expressions", "masks", "head_box", "poses", "splits"} <= set(report.as_dict())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda v: v[:-2], "expr.npy has 38 rows but the clip needs 40"),
        (lambda v: v.astype(np.int32), "expr.npy holds int32 values but must hold float32"),
        (lambda v: v[:, :5], "expr_names.json has 6 names but"),
        (lambda v: v[0], "expr.npy has shape (6,)"),
        (lambda v: 0 * v, "no expression coefficient moves in the training frames"),
    ],
)
def test_wrong_coefficients_do_not_hide_a_missing_image(own_clip, change, expected):
    root, _ = own_clip(40)
    edit_expressions(root, change)
    (root / "images" / contract.image_name(7)).unlink()
    report = check(root)
    assert only(report, expected).severity == Severity.ERROR
    assert only(report, "1 image is missing").frames == (7,)


def test_a_missing_expr_npy_does_not_hide_the_rest(own_clip):
    root, _ = own_clip(40)
    (root / "expr.npy").unlink()
    (root / "images" / contract.image_name(7)).unlink()
    edit(root, lambda document: document.pop("fl_x"))
    report = check(root)
    assert (
        only(report, "expr.npy does not exist") and only(report, "has no 'fl_x'") and only(report, "image is missing")
    )
    assert not [message for message in of(report, Severity.ERROR) if "finite" in message]


@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        (lambda root: None, "is not a directory"),
        (lambda root: root.mkdir(), "is of no known dataset layout"),
        (lambda root: (root.mkdir(), (root / "transforms.json").write_text("{")), "is not valid JSON"),
        (lambda root: (root.mkdir(), (root / "transforms.json").write_text("{}")), "has no 'frames'"),
        (
            lambda root: (root.mkdir(), (root / "transforms.json").write_text('{"frames": [{"img_id": "a"}]}')),
            "no element of 'frames' has a usable 'img_id'",
        ),
    ],
)
def test_no_dataset_at_all(tmp_path, prepare, expected):
    root = tmp_path / "nothing"
    prepare(root)
    report = check(root)
    assert report.exit_status() == 2 and expected in " ".join(of(report, Severity.ERROR))


def test_the_protocol_is_that_of_training(own_clip):
    root, _ = own_clip(29)  # 29 x 10 // 11 = 26.
    splits = check(root, protocol="radnerf").as_dict()["splits"]
    assert splits["protocol"] == "radnerf" and splits["test"] == {"frames": 3, "first": 26, "last": 28}
    assert check(root, test_frames=5).as_dict()["splits"]["protocol"] == "last5"


def test_too_few_frames_for_the_split(own_clip):
    root, _ = own_clip(12)
    report = check(root, protocol="last500")
    assert only(report, "the clip has 12 frames, too few for the protocol last500").severity == Severity.ERROR
    report = check(root, test_frames=500)
    assert only(report, "the clip has 12 frames, too few for the protocol last500").severity == Severity.ERROR


def test_images_of_another_size_than_the_camera(own_clip):
    root, _ = own_clip(20)
    edit(root, lambda document: document.update(w=192, h=192))
    report = check(root)
    assert only(report, "all images are 96x96 pixels but the camera is given for 192x192")


def test_images_that_no_frame_names(own_clip):
    root, _ = own_clip(20)
    (root / "images" / "extra.jpg").write_bytes(b"")
    assert only(check(root), "images/ has 1 image that no frame names: extra.jpg").severity == Severity.NOTE


def test_missing_and_coloured_mattes(own_clip):
    root, truth = own_clip(20)
    mattes = [255 * (truth.labels[frame] > 0).astype(np.uint8) for frame in range(20)]
    for frame, matte in enumerate(mattes):
        file_io.save_image(root / "alpha" / contract.alpha_name(frame), matte)
    # An image editor stores black and white as one bit, which is read as 0 and 255, or as three equal channels.
    Image.fromarray(mattes[7]).convert("1").save(root / "alpha" / contract.alpha_name(7))
    assert not check(root).count(Severity.ERROR)
    Image.fromarray(mattes[8]).convert("RGB").save(root / "alpha" / contract.alpha_name(8))
    found = only(check(root), "1 matte not stored as 8-bit single-channel values (Pillow names RGB)")
    assert found.frames == (8,) and found.action == "write grey PNG files with the person's opacity, 0 to 255"
    assert check(root).as_dict()["files"]["count"] == 60
    (root / "alpha" / contract.alpha_name(5)).unlink()
    assert only(check(root), "1 matte is missing in alpha/: 000005.png").frames == (5,)


def test_warnings_of_the_processing_are_passed_on(own_clip):
    root, _ = own_clip(20)
    steps = {"frames": {"warnings": ["the camera moves; use a tripod."]}, "landmarks": {"warnings": []}}
    file_io.save_json(root / contract.PROCESS, {"steps": steps})
    found = only(check(root), "when the video was processed: the camera moves")
    assert found.severity == Severity.WARNING and found.action == "use a tripod"


def test_only_tracked_clips_are_known_to_be_in_centimetres(own_clip):
    """A converted one keeps the unit that it came in."""
    root, _ = own_clip(20)
    assert " cm" not in head_box_row(root)
    file_io.save_json(root / contract.PROCESS, {"steps": {}})
    assert " cm round" in head_box_row(root)


def head_box_row(root: Path) -> str:
    return next(words for section in check(root).sections for name, words in section.rows if name == "head box")


def test_the_command_line(own_clip, capsys):
    root, _ = own_clip(20)
    with pytest.raises(SystemExit) as end:
        main([str(root), "--no-estimate", "--json"])
    assert end.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert document["usable"] and document["counts"]["error"] == 0 and document["clip"]["frames"] == 20
    with pytest.raises(SystemExit) as end:
        main([str(root), "--no-estimate", "--strict"])
    assert end.value.code == 1  # Few training frames.
    text = capsys.readouterr().out
    assert "layout own: 20 frames of 96x96 pixels" in text and "Usable: " in text
    (root / "images" / contract.image_name(3)).unlink()
    with pytest.raises(SystemExit) as end:
        main([str(root), "--no-estimate"])
    assert end.value.code == 2
    text = capsys.readouterr().out
    assert "1 image is missing" in text and "Not usable: 1 error" in text


def test_json_is_all_that_is_printed_where_the_models_look_too(own_clip, capsys, monkeypatch):
    """Reading a dataset as training does tells of coefficients that are left out."""
    root, _ = own_clip(20)
    monkeypatch.setattr(run, "_estimate", lambda config: Section("estimate"))
    with pytest.raises(SystemExit):
        main([str(root), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["expressions"]["dead"] == ["_neutral", "cheekPuff"] and "hull" in document


def test_times_that_training_refuses_are_an_error(own_clip):
    root, _ = own_clip(20)
    np.save(root / contract.FRAME_TIMES, np.zeros(20))
    assert only(check(root), "frame_times.npy holds times that do not ascend").severity == Severity.ERROR


def test_images_that_are_stored_lying_are_of_the_size_they_are_read_with(own_clip):
    root, truth = own_clip(20)
    exif = Image.Exif()
    exif[0x0112] = 6
    for frame in range(20):
        path = root / "images" / contract.image_name(frame)
        lying = Image.fromarray(truth.images[frame][:64]).rotate(90, expand=True)
        lying.save(path, exif=exif)
        file_io.save_image(root / "parsing" / contract.parsing_name(frame), truth.labels[frame][:64])
    edit(root, lambda document: document.update(h=64))
    assert not of(check(root), Severity.ERROR)


def test_nothing_is_written(own_clip):
    root, _ = own_clip(20)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    check(root)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
