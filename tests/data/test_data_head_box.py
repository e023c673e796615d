import dataclasses

import numpy as np
import pytest
from tiny_clips import CENTRE, RADIUS

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.head_box import head_box, normalisation_of
from nerfblendshape_ns.data.layouts import Clip, read_clip


def project(clip: Clip, frame: int, points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Pixels of points in the space that ``pose`` leads to."""
    local = (points - pose[:3, 3]) @ pose[:3, :3]
    return np.stack(
        [clip.cx - clip.fl_x * local[:, 0] / local[:, 2], clip.cy + clip.fl_y * local[:, 1] / local[:, 2]], 1
    )


def test_box_of_a_ball_without_a_mesh(own_clip):
    root, _ = own_clip(12)
    box = head_box(read_clip(root), margin=0.0)
    # One pixel is 0.4 cm at the ball; a turned view's touching points lie within the ball.
    np.testing.assert_allclose(box[:, 0], [CENTRE[0] - RADIUS, CENTRE[0] + RADIUS], atol=0.6)
    np.testing.assert_allclose(box[:, 1], [CENTRE[1] - RADIUS, CENTRE[1] + RADIUS], atol=0.6)
    assert box[0, 2] < CENTRE[2] - RADIUS and box[1, 2] > CENTRE[2] + RADIUS
    np.testing.assert_allclose(np.ptp(box[:, 2]), 1.56 * np.ptp(box[:, 0]), rtol=1e-6)


def test_mesh_gives_the_depth(own_clip):
    root, _ = own_clip(12, mesh=True)
    clip = read_clip(root)
    box = head_box(clip, margin=0.0)
    assert clip.face_mesh is not None
    # The mesh is 14 wide and its front is at 4: the box begins a tenth of the width before it. The ball, 20 wide,
    # counts as 1.35 mesh widths, 18.9, and the depth is 1.3 of that.
    assert box[1, 2] == pytest.approx(4 + 1.4, abs=1e-5)
    assert np.ptp(box[:, 2]) == pytest.approx(1.3 * 18.9, abs=1e-4)


def test_every_mask_lies_inside_the_projected_box(own_clip):
    root, truth = own_clip(12)
    clip = read_clip(root)
    box = head_box(clip)
    corners = np.array([[box[i, 0], box[j, 1], box[k, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    for frame in range(12):
        pixels = project(clip, frame, corners, truth.poses[frame])
        y, x = np.nonzero(truth.labels[frame] == Label.HEAD)
        assert pixels[:, 0].min() < x.min() and pixels[:, 0].max() > x.max() + 1
        assert pixels[:, 1].min() < y.min() and pixels[:, 1].max() > y.max() + 1


def test_a_bad_mask_and_islands_do_not_widen_the_box(own_clip):
    root, truth = own_clip(100, size=48)
    before = head_box(read_clip(root))
    flooded = np.full_like(truth.labels[0], Label.HEAD)
    file_io.save_image(root / "parsing" / contract.parsing_name(40), flooded)
    for frame in range(50, 100):
        labels = truth.labels[frame].copy()
        labels[:3, :3] = Label.HEAD
        file_io.save_image(root / "parsing" / contract.parsing_name(frame), labels)
    # An outlier at the 99th percentile of 100 frames is only interpolated towards by a hundredth.
    np.testing.assert_allclose(head_box(read_clip(root)), before, atol=0.35)


def test_landmarks_keep_an_open_jaw_inside(own_clip):
    """The jaw opens in three of 60 frames, below what their masks cover."""
    root, _ = own_clip(60)
    landmarks = np.full((60, 478, 2), 48.0, np.float32)
    landmarks[30:33, 152, 1] = 88.0  # 40 pixels below the middle: 16 cm below the centre at a distance of 60.
    file_io.save_array(root / contract.LANDMARKS, landmarks)
    box = head_box(read_clip(root), margin=0.0)
    assert box[0, 1] == pytest.approx(
        CENTRE[1] - 60 * np.sin(np.arctan(40 / 150)) * np.cos(np.arctan(40 / 150)), abs=0.3
    )


def test_normalisation_keeps_pixels_and_fits_the_unit_box(own_clip):
    root, truth = own_clip(6, mesh=True)
    clip = read_clip(root)
    box = head_box(clip)
    normalisation = normalisation_of(box)
    points = np.random.default_rng(0).uniform(box[0], box[1], (50, 3))
    normalised = normalisation.points(points)
    assert (normalised >= normalisation.box[0] - 1e-9).all() and (normalised <= normalisation.box[1] + 1e-9).all()
    assert np.abs(normalisation.box).max() == pytest.approx(1)
    np.testing.assert_allclose(normalisation.box[0], -normalisation.box[1])
    poses = normalisation.poses(truth.poses)
    for frame in range(6):
        before = project(clip, frame, points, truth.poses[frame])
        np.testing.assert_allclose(project(clip, frame, normalised, poses[frame]), before, atol=1e-8)


def test_normalisation_axes_and_nerfstudio_convention():
    normalisation = normalisation_of(np.array([[-10.0, -14.0, -16.0], [12.0, 16.0, 8.0]]))
    centre = np.array([1.0, 1.0, -4.0])
    np.testing.assert_allclose(normalisation.points(centre), 0, atol=1e-12)
    # Up in the head is +z, the face looks along -y, and the longest side, 30, becomes 2.
    np.testing.assert_allclose(normalisation.points(centre + [0, 15, 0]), [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(normalisation.points(centre + [0, 0, 15]), [0, -1, 0], atol=1e-12)
    np.testing.assert_allclose(normalisation.points(centre + [15, 0, 0]), [1, 0, 0], atol=1e-12)
    assert np.linalg.det(normalisation.rotation) == pytest.approx(1)
    point = np.array([3.0, 5.0, 7.0, 1.0])
    np.testing.assert_allclose(normalisation.scale * (normalisation.transform @ point), normalisation.points(point[:3]))


def test_no_head_in_any_mask(own_clip):
    root, truth = own_clip(4)
    for frame in range(4):
        file_io.save_image(root / "parsing" / contract.parsing_name(frame), np.zeros_like(truth.labels[0]))
    with pytest.raises(UserError, match="no label image of .* has a head in it; process the video again"):
        head_box(read_clip(root))


def test_a_frame_without_a_head_is_left_out(own_clip):
    root, truth = own_clip(8)
    clip = read_clip(root)
    before = head_box(dataclasses.replace(clip, frames=clip.frames[1:], expressions=clip.expressions[1:]))
    file_io.save_image(root / "parsing" / contract.parsing_name(0), np.zeros_like(truth.labels[0]))
    without_rect = tuple(dataclasses.replace(frame, face_rect=None) for frame in clip.frames)
    after = head_box(dataclasses.replace(clip, frames=without_rect))
    np.testing.assert_allclose(after, before, atol=0.5)
