"""Single checks, on clips with one thing made wrong."""

from dataclasses import replace

import numpy as np
import pytest

from nerfblendshape_ns.check.box import check_box, mask_offset
from nerfblendshape_ns.check.expressions import check_expressions
from nerfblendshape_ns.check.findings import Section, Severity
from nerfblendshape_ns.check.masks import area_outliers, check_masks, chosen_positions, overlap
from nerfblendshape_ns.check.overview import check_overview
from nerfblendshape_ns.check.poses import check_poses, head_angles
from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.layouts import Clip, read_clip
from nerfblendshape_ns.data.splits import split_frames


def messages(section: Section, severity: Severity = Severity.WARNING) -> str:
    return "\n".join(finding.message for finding in section.findings if finding.severity == severity)


@pytest.fixture
def clip(own_clip) -> Clip:
    root, _ = own_clip(60)
    return read_clip(root)


def with_poses(clip: Clip, poses: np.ndarray) -> Clip:
    frames = tuple(replace(frame, camera_to_head=pose) for frame, pose in zip(clip.frames, poses))
    return replace(clip, frames=frames)


# --- expressions ---


def test_clamped_test_coefficients_are_counted_and_named(clip):
    values = clip.expressions.copy()
    train = split_frames(60).train
    low, high = float(values[train, 0].min()), float(values[train, 0].max())
    values[57, 0] = high + 0.5
    section = check_expressions(replace(clip, expressions=values), split_frames(60))
    clamped = section.figures["clamped_test"]
    assert clamped["of"] == 6 and clamped["coefficients"][0] == {
        "name": "jawOpen",
        "frames": clamped["coefficients"][0]["frames"],
        "value": pytest.approx(high + 0.5),
        "min": pytest.approx(low),
        "max": pytest.approx(high),
    }
    assert "jawOpen reaches" in messages(section) and "57" in messages(section)


def test_eyes_turn_half_a_range_further_before_they_are_clamped(clip):
    values = 0.1 * clip.expressions
    train = split_frames(60).train
    values[:, 0] = np.linspace(0.0, 1.0, len(values))
    values[57:, 0] = values[train, 0].max() + 0.4 * np.ptp(values[train, 0])
    names = ("eyeLookInLeft", *clip.expression_names[1:])
    still = replace(clip, expressions=values, expression_names=names)
    turning = replace(still, landmarks=np.zeros((60, 478, 2)), face_mesh=np.zeros((468, 3)))
    lacking = replace(turning, landmarks=np.zeros((60, 468, 2)))
    clamped = [check_expressions(each, split_frames(60)).figures["clamped_test"] for each in (still, turning, lacking)]
    assert [figure["coefficients"][0]["frames"] for figure in (clamped[0], clamped[2])] == [6, 6]
    assert clamped[1]["frames"] == 0
    values[59, 0] = values[train, 0].max() + 0.7 * np.ptp(values[train, 0])
    beyond = check_expressions(turning, split_frames(60)).figures["clamped_test"]
    assert [(one["name"], one["frames"]) for one in beyond["coefficients"]] == [("eyeLookInLeft", 1)]


def test_pose_angles_among_the_coefficients(clip):
    values = clip.expressions.copy()
    values[:, 2] = 0.01 * head_angles(clip.camera_to_head)[:, 0]
    assert "mouthSmileLeft (1.00)" in messages(check_expressions(replace(clip, expressions=values), split_frames(60)))


def test_a_leading_neutral_one_and_values_outside_a_unit_basis(clip):
    values = clip.expressions.copy()
    values[:, 0] = 1.0
    values[3, 1] = 60.0
    section = check_expressions(replace(clip, expressions=values, basis_id="arkit52"), split_frames(60))
    assert "the first coefficient (jawOpen) is always 1" in messages(section, Severity.NOTE)
    assert "1 coefficient outside 0 to 1, which arkit52 defines: mouthPucker" in messages(section)
    wide = next(finding for finding in section.findings if "times the median coefficient" in finding.message)
    assert wide.frames == (3,)


def test_a_tracker_that_stood_still(clip):
    values = clip.expressions.copy()
    values[10:16] = values[10]
    values[20:23] = values[20]
    section = check_expressions(replace(clip, expressions=values), split_frames(60))
    assert "stand still for 5 or more frames on end: frames 10-15" in messages(section)
    assert "20" not in messages(section)


# --- poses ---


def test_a_smooth_track_has_no_outlier_and_its_angles_are_known(clip):
    section = check_poses(clip, split_frames(60))
    assert section.figures["outliers"] == [] and section.figures["yaw_range_degrees"] == pytest.approx([-20, 20])
    assert max(section.figures["jitter_degrees"]) < 1e-6
    assert not messages(section) and not messages(section, Severity.ERROR)


def test_pose_outliers_are_named(clip):
    poses = clip.camera_to_head.copy()
    poses[20, :3, 3] *= 1.2
    turn = np.radians(8.0)
    nod = [[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]]
    poses[40, :3, :3] = poses[40, :3, :3] @ nod
    section = check_poses(with_poses(clip, poses), split_frames(60))
    assert section.figures["outliers"] == [20, 40]
    assert "2 poses far from the neighbouring frames' in frames 20, 40" in messages(section)
    # The same where only every tenth frame of a video was kept with its number.
    frames = tuple(replace(frame, img_id=10 * frame.img_id) for frame in with_poses(clip, poses).frames)
    assert check_poses(replace(clip, frames=frames), split_frames(60)).figures["outliers"] == [200, 400]


def test_opencv_poses_look_away_from_the_head(clip):
    poses = clip.camera_to_head @ np.diag([1.0, -1.0, -1.0, 1.0])
    section = check_poses(with_poses(clip, poses), split_frames(60))
    assert "the head is behind the camera in all frames" in messages(section, Severity.ERROR)
    assert "OpenCV" in section.findings[0].action


def test_jitter_and_a_still_head(clip):
    poses = np.tile(clip.camera_to_head[30], (60, 1, 1))
    assert "turns by no more than 0.0 degrees" in messages(check_poses(with_poses(clip, poses), split_frames(60)))
    for frame, angle in enumerate(np.radians(np.where(np.arange(60) % 2, 1.0, -1.0))):
        turn = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
        poses[frame, :3, :3] = poses[frame, :3, :3] @ turn
    assert "the poses jitter by 1.15" in messages(check_poses(with_poses(clip, poses), split_frames(60)))
    slow = replace(with_poses(clip, poses), fps=12.5)  # There a head that moves looks like that.
    assert "jitter" not in messages(check_poses(slow, split_frames(60)))


def test_test_frames_that_turn_further(clip):
    order = np.r_[12:60, 11:-1:-1]  # The strongest turn to one side comes last.
    section = check_poses(with_poses(clip, clip.camera_to_head[order]), split_frames(60))
    assert "further than any training frame: yaw by" in messages(section, Severity.NOTE)


def projected(clip: Clip, mesh: np.ndarray) -> np.ndarray:
    landmarks = []
    for pose in clip.camera_to_head:
        local = (mesh - pose[:3, 3]) @ pose[:3, :3]
        across = clip.cx + clip.fl_x * local[:, 0] / -local[:, 2]
        landmarks.append(np.stack([across, clip.cy - clip.fl_y * local[:, 1] / -local[:, 2]], -1))
    return np.stack(landmarks)


def test_mesh_and_landmarks_must_agree(own_clip):
    root, _ = own_clip(60, mesh=True)
    clip = read_clip(root)
    landmarks = projected(clip, clip.face_mesh)
    exact = check_poses(replace(clip, landmarks=landmarks), split_frames(60))
    assert exact.figures["reprojection"]["worst_pixels"] == pytest.approx(0, abs=1e-6)
    shifted = landmarks.copy()
    shifted[7] += 10.0
    section = check_poses(replace(clip, landmarks=shifted), split_frames(60))
    assert section.figures["reprojection"]["worst_frame"] == 7
    assert section.figures["reprojection"]["worst_pixels"] == pytest.approx(10 * 2**0.5)
    assert "far beside the landmarks in frame 7" in messages(section)
    half = check_poses(replace(clip, landmarks=landmarks / 2), split_frames(60))
    assert "poses, intrinsics and landmarks do not belong together" in messages(half, Severity.ERROR)


# --- masks and box ---


def test_overlap_of_moved_squares():
    first, second = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    first[2:6, 2:6] = second[2:6, 3:7] = True
    assert overlap(first, second) == pytest.approx(12 / 20)
    assert overlap(first, second, (0, -1)) == 1.0 and overlap(second, first, (0, 1)) == 1.0
    assert overlap(np.zeros((4, 4), bool), np.zeros((4, 4), bool)) == 1.0


def test_long_clips_are_sampled_in_stretches_of_neighbours():
    assert chosen_positions(list(range(50))) == list(range(50))
    chosen = chosen_positions(list(range(20_000)))
    assert len(chosen) == 800 and chosen[0] == 0 and chosen[-1] == 19_999
    assert all((np.diff(chosen[first : first + 8]) == 1).all() for first in range(0, 800, 8))


def test_a_head_that_comes_near_now_and_then_does_not_stand_out_in_a_long_clip():
    seconds = np.arange(36_000) / 30
    area = 0.15 * (1 + 0.8 * np.exp(-0.5 * (seconds % 60 - 30) ** 2))  # For two seconds a minute 1.8 times as large.
    wrong = chosen_positions(list(range(36_000)))[411]
    area[wrong] /= 3
    chosen = np.array(chosen_positions(list(range(36_000))))
    section = Section("masks")
    area_outliers(section, chosen, area[chosen], np.zeros(len(chosen), bool))
    assert section.figures["area_outliers"] == [wrong]


def test_masks_that_stand_out(own_clip):
    root, truth = own_clip(60)
    half, none, low = truth.labels[20].copy(), truth.labels[40].copy(), truth.labels[50]
    half[:48] = Label.BACKGROUND
    none[none == Label.HEAD] = Label.BACKGROUND
    for frame, labels in ((20, half), (40, none)):
        file_io.save_image(root / "parsing" / contract.parsing_name(frame), labels)
    file_io.save_image(root / "parsing" / contract.parsing_name(50), np.where(low == 1, np.uint8(9), low))
    section, bad = check_masks(read_clip(root), set(range(60)))
    assert bad == {50} and "000050.png is not an 8-bit" in messages(section, Severity.ERROR)
    assert section.figures["area_outliers"] == [20] and section.figures["jumps"] == [20, 21]
    assert "1 frame without a head in the labels: frame 40" in messages(section)
    areas = section.figures["areas"]["head"]
    assert areas["min"] == 0 and areas["max"] == pytest.approx((truth.labels == 1).mean((1, 2)).max())


def test_masks_of_frames_that_are_numbered_in_steps_are_compared(own_clip):
    root, _ = own_clip(20)
    clip = read_clip(root)
    alike, _ = check_masks(clip, set(range(20)))
    stepped = replace(clip, frames=tuple(replace(frame, img_id=3 * frame.img_id) for frame in clip.frames))
    section, _ = check_masks(stepped, set(range(20)))
    assert section.figures["consecutive_iou"] == alike.figures["consecutive_iou"]


def test_a_head_cut_by_the_border(own_clip):
    root, truth = own_clip(20)
    for frame in range(20):
        labels = np.roll(truth.labels[frame], -35, axis=1)
        labels[:, -20:] = Label.BACKGROUND
        file_io.save_image(root / "parsing" / contract.parsing_name(frame), labels)
    section, _ = check_masks(read_clip(root), set(range(20)))
    assert "cut by the image's border (left in 100% of the frames)" in messages(section)


def test_no_head_at_all(own_clip):
    root, truth = own_clip(20)
    for frame in range(20):
        file_io.save_image(root / "parsing" / contract.parsing_name(frame), 0 * truth.labels[frame])
    clip = read_clip(root)
    assert "no frame has a head in its labels" in messages(check_masks(clip, set(range(20)))[0], Severity.ERROR)
    assert "has a head in it" in messages(check_box(clip, set(range(20))), Severity.ERROR)


def test_box_and_a_mask_beside_it(own_clip):
    root, truth = own_clip(40)
    moved = np.zeros_like(truth.labels[12])
    moved[:25, :25] = Label.HEAD
    file_io.save_image(root / "parsing" / contract.parsing_name(12), moved)
    clip = read_clip(root)
    section = check_box(clip, set(range(40)))
    assert [finding.frames for finding in section.findings] == [(12,)]
    box = np.array([section.figures["low"], section.figures["high"]])
    assert abs(mask_offset(clip, 3, box.mean(0))).max() < 0.2
    # The mask's middle is at 12.5 pixels, the ball's near 48, and the mask is 25 pixels wide.
    np.testing.assert_allclose(mask_offset(clip, 12, box.mean(0)), -35.5 / 25, atol=0.3)


def test_a_camera_inside_the_box(clip):
    poses = clip.camera_to_head.copy()
    poses[:, :3, 3] = [0.5, 1.0, -2.0] + 0.1 * (poses[:, :3, 3] - [0.5, 1.0, -2.0])
    near = replace(with_poses(clip, poses), fl_x=5.0, fl_y=5.0)
    assert "the camera would be inside the head's box" in messages(check_box(near, set(range(60))), Severity.ERROR)


# --- camera ---


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"fl_x": 1.2, "fl_y": 1.2}, "degrees is unusual for a camera"),
        ({"cx": 500.0}, "the principal point (500, 48) is far from the middle"),
        ({"fl_y": 300.0}, "the focal lengths differ much: 150 across and 300 up"),
    ],
)
def test_implausible_cameras(clip, change, expected):
    assert expected in messages(check_overview(replace(clip, **change)))


def test_frames_numbered_by_the_clock_have_no_list_of_gaps(clip):
    def numbered(step):
        frames = tuple(replace(frame, img_id=frame.img_id * step) for frame in clip.frames)
        return check_overview(replace(clip, frames=frames))

    assert numbered(2).figures["gaps"] == list(range(1, 118, 2)) and "leave out 59 frames" in (
        messages(numbered(2), Severity.NOTE)
    )
    nanoseconds = numbered(33_333_333)
    assert nanoseconds.figures["gaps"] == []
    assert "60 frames run from 0 to 1966666647, as where they are times" in messages(nanoseconds, Severity.NOTE)


def test_a_crop_far_from_the_middle_of_a_large_video_is_a_plausible_camera(clip):
    # A face 40 pixels high on the left of a video of 3840 x 2160, whose focal length is 1.632 times the shorter side.
    scale = 96 / 108
    crop = {"fl_x": 1.632 * 2160 * scale, "fl_y": 1.632 * 2160 * scale, "cx": (1920 - 400) * scale}
    assert "the principal point" in messages(check_overview(replace(clip, **crop)))
    (clip.root / contract.PROCESS).write_text("{}")
    section = check_overview(replace(clip, **crop))
    assert not section.findings and section.rows[-1][0] == "camera"


def test_what_is_before_the_face_is_named(own_clip):
    root, truth = own_clip(30)
    for frame in (7, 8):
        labels = truth.labels[frame].copy()
        labels[40:56, 40:56] = Label.OCCLUDED
        file_io.save_image(root / "parsing" / contract.parsing_name(frame), labels)
    section, bad = check_masks(read_clip(root), set(range(30)))
    assert not bad and section.figures["occluded"] == [7, 8] and not messages(section)
    assert "something is before the face in frames 7-8 (" in messages(section, Severity.NOTE)
