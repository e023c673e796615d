import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nerfblendshape_ns.process_data.pose import head_pose, pose_geometry
from nerfblendshape_ns.process_data.pose.landmark_trust import slips, trust_in_frames
from nerfblendshape_ns.process_data.pose.pose_geometry import FRONTAL, Intrinsics

CAMERA = Intrinsics(420.0, 128.0, 128.0)


def moving_face(num_frames=40):
    """Landmarks of a rigid face that turns, with a little noise, and what they are made from."""
    random = np.random.default_rng(0)
    shape = random.uniform([-6, -8, -2], [6, 8, 2], (48, 3))
    time = np.linspace(0, 3 * np.pi, num_frames)
    angles = np.stack([12 * np.sin(time), 6 * np.cos(time), 3 * np.sin(2 * time)], 1)
    rotation = FRONTAL @ Rotation.from_euler("yxz", angles, degrees=True).as_matrix()
    translation = np.stack([np.sin(time), np.cos(time), 45 + np.sin(time)], 1)
    camera = shape @ rotation.transpose(0, 2, 1) + translation[:, None]
    observed = pose_geometry.project(camera, CAMERA) + random.normal(0, 0.3, (num_frames, 48, 2))
    return shape, rotation, translation, observed


def errors_in_degrees(fit, rotation):
    found = pose_geometry.rotations(fit.poses, fit.reference)
    return np.degrees(Rotation.from_matrix(found @ rotation.transpose(0, 2, 1)).magnitude())


@pytest.mark.parametrize("smoothness", [0.0, 0.5])
def test_bad_frames_do_not_reach_the_pose(smoothness):
    shape, rotation, _, observed = moving_face()
    clean = head_pose.fit_clip(observed, shape, CAMERA, smoothness, image_size=256)
    assert clean.trust.min() == 1
    spoiled = observed.copy()
    random = np.random.default_rng(1)
    # Landmarks unlike any face; the face of somebody beside; a face of twice the size.
    spoiled[9] = random.uniform(0, 256, (48, 2))
    spoiled[20:22] += 120
    spoiled[30] = 128 + 2 * (spoiled[30] - 128)
    fit = head_pose.fit_clip(spoiled, shape, CAMERA, smoothness, image_size=256)
    assert np.flatnonzero(fit.trust < 0.1).tolist() == [9, 20, 21, 30]
    assert errors_in_degrees(clean, rotation).max() < 1.0
    # Laid between neighbours that are up to six degrees apart, and no other frame is disturbed.
    wrong = errors_in_degrees(fit, rotation)
    assert wrong[fit.trust < 0.1].max() < 2.5
    assert wrong[fit.trust == 1].max() < 1.2
    assert np.abs(fit.shape - clean.shape).max() < 0.05


def test_fast_motion_is_no_slip():
    shape, _, _, observed = moving_face()
    steps = 9.0 * np.arange(len(observed))[:, None, None]
    assert not slips(observed + steps).any()
    jumped = observed.copy()
    jumped[20:] += 100
    assert not slips(jumped).any()
    quick = observed.copy()
    size = np.sqrt(((observed[20] - observed[20].mean(0)) ** 2).sum(-1).mean())
    quick[20:22, :, 0] += 0.7 * size  # As far as a head that shakes gets between two frames of a real clip.
    assert not slips(quick).any()
    back = observed.copy()
    back[20:23] += 100
    assert np.flatnonzero(slips(back)).tolist() == [20, 21, 22]


def test_trust_is_whole_up_to_four_times_the_usual_error():
    distances = np.ones((10, 48))
    distances[3] = 3.9
    distances[4] = 8.0
    trust = trust_in_frames(distances)
    assert trust[3] == 1 and trust[4] == pytest.approx(1 / 16) and trust[0] == 1


def test_nothing_is_smoothed_across_a_break():
    shape, rotation, translation, observed = moving_face()
    shifted = observed.copy()
    shifted[20:] += 25
    breaks = np.arange(40) == 20
    joined = head_pose.fit_clip(shifted, shape, CAMERA, 3.0, image_size=256, breaks=breaks)
    first = head_pose.fit_clip(shifted[:20], shape, CAMERA, 3.0, image_size=256)
    assert np.abs(joined.poses[19, 3:5] - first.poses[19, 3:5]).max() < 0.1
    step = np.abs(joined.poses[20, 3] - joined.poses[19, 3])
    # 25 pixels at 45 centimetres are 2.7 centimetres.
    assert step == pytest.approx(2.7, abs=0.4)


def test_no_pose_at_all_is_reported():
    from nerfblendshape_ns.common.errors import UserError

    with pytest.raises(UserError, match="no head pose fits the landmarks of any frame"):
        head_pose.initial_poses(np.random.default_rng(0).normal(size=(8, 3)), np.full((3, 8, 2), np.nan), CAMERA)
