import time

import numpy as np
import pytest
import warp as wp
from scipy.ndimage import binary_erosion

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.contract import LEFT_EYE_LANDMARKS, LIP_LANDMARKS, RIGHT_EYE_LANDMARKS, Label
from nerfblendshape_ns.synthetic import sculpt, shading
from nerfblendshape_ns.synthetic.camera import camera_to_head, default_intrinsics, project
from nerfblendshape_ns.synthetic.expressions import EXPRESSION_NAMES
from nerfblendshape_ns.synthetic.geometry import Part
from nerfblendshape_ns.synthetic.head import SyntheticHead
from nerfblendshape_ns.synthetic.motion import head_pose, talking_motion

SIZE = 128
INTRINSICS = default_intrinsics(SIZE, SIZE)
REST = camera_to_head(np.eye(4))


def expression(**values: float) -> np.ndarray:
    result = np.zeros(len(EXPRESSION_NAMES), np.float32)
    for name, value in values.items():
        result[EXPRESSION_NAMES.index(name)] = value
    return result


def neutral(head):
    return head.render(expression(), REST, INTRINSICS)


def box_around(pixels: np.ndarray, margin: float) -> tuple:
    low, high = pixels.min(0) - margin, pixels.max(0) + margin
    return slice(int(low[1]), int(np.ceil(high[1]))), slice(int(low[0]), int(np.ceil(high[0])))


def test_all_labels_appear_where_they_belong(head):
    rendering = neutral(head)
    labels = rendering.labels
    assert set(np.unique(labels)) == {int(label) for label in Label if label != Label.OCCLUDED}
    assert labels[2, 2] == Label.BACKGROUND
    assert labels[SIZE // 2 - 8, SIZE // 2] == Label.HEAD
    assert labels[SIZE - 2, SIZE // 2] == Label.TORSO and labels[SIZE - 2, 12] == Label.TORSO
    rows = np.nonzero((labels == Label.NECK).any(1))[0]
    assert np.nonzero((labels == Label.HEAD).any(1))[0].min() < rows.min() < rows.max() < SIZE - 2
    height = np.ptp(np.nonzero((labels == Label.HEAD).any(1))[0]) / SIZE
    assert 0.5 < height < 0.7


def test_alpha_label_and_colours_agree(head):
    rendering = neutral(head)
    assert np.array_equal(rendering.labels[rendering.alpha == 1.0], np.full((rendering.alpha == 1.0).sum(), Label.HEAD))
    assert (rendering.labels[rendering.alpha == 0.0] != Label.HEAD).all()
    background = binary_erosion(rendering.labels == Label.BACKGROUND, np.ones((3, 3)))
    plate = np.round(head.background(SIZE, SIZE) * 255)
    np.testing.assert_allclose(rendering.image[background], plate[background], atol=0.6)


def test_same_seed_same_person(head):
    other = SyntheticHead(0)
    values, pose = expression(jawOpen=0.5, eyeBlinkLeft=0.3), camera_to_head(head_pose(12.0, 4.0, -3.0))
    first, second = (one.render(values, pose, INTRINSICS) for one in (head, other))
    assert np.array_equal(first.image, second.image) and np.array_equal(first.labels, second.labels)
    stranger = SyntheticHead(5).render(values, pose, INTRINSICS)
    assert np.abs(stranger.image.astype(int) - first.image).mean() > 3


def test_a_frame_does_not_depend_on_the_frames_before_it(head):
    before = neutral(head).image
    head.render(expression(jawOpen=1.0, browInnerUp=1.0), camera_to_head(head_pose(-20.0, 5.0, 5.0)), INTRINSICS)
    assert np.array_equal(neutral(head).image, before)


def test_landmarks_lie_on_pixels_of_the_head(head):
    motion = talking_motion(24, 3.0, 0)
    cameras = camera_to_head(motion.head_to_world)
    shares = []
    for row, camera in zip(motion.expressions, cameras):
        rendering = head.render(row, camera, INTRINSICS, samples=1)
        column, line = project(head.landmarks(row), camera, INTRINSICS).astype(int).T
        shares.append((rendering.labels[line, column] == Label.HEAD).mean())
    assert min(shares) > 0.97 and np.mean(shares) > 0.985  # the face's outline falls on either side of the edge


def test_landmarks_have_mediapipes_order_and_symmetry(head):
    points = head.landmarks(expression())
    assert points.shape == (478, 3)
    left, right, lips = (points[list(rows)] for rows in (LEFT_EYE_LANDMARKS, RIGHT_EYE_LANDMARKS, LIP_LANDMARKS))
    assert (left[:, 0] > 1.5).all() and (right[:, 0] < -1.5).all()
    np.testing.assert_allclose(left * [-1, 1, 1], right, atol=0.08)
    assert points[1, 2] == points[:468, 2].max() or points[4, 2] == points[:468, 2].max()  # the tip of the nose
    assert points[10, 1] > points[151, 1] > points[168, 1] > points[1, 1] > points[13, 1] > points[152, 1]
    assert abs(lips[0, 0] + 2.5) < 0.1 and abs(lips[10, 0] - 2.5) < 0.1
    assert 0.0 < points[13, 1] - points[14, 1] < 0.3  # the lips are closed
    assert 2.0 < points[[468, 473], 1].mean() < 3.0 and points[468, 0] < 0 < points[473, 0]
    assert -10.0 < points[152, 1] < -8.5
    # An iris has its centre amid its ring.
    np.testing.assert_allclose(points[474:478].mean(0)[:2], points[473][:2], atol=0.05)


@pytest.mark.parametrize("name", EXPRESSION_NAMES)
def test_each_coefficient_moves_its_own_region_most(head, name):
    regions = {
        "brow": np.array([9, 107, 66, 105, 336, 296, 334, 55, 285, 151, 108, 337]),
        "eye": np.array([*LEFT_EYE_LANDMARKS, *RIGHT_EYE_LANDMARKS, *range(468, 478)]),
        "mouth": np.array([*LIP_LANDMARKS, 13, 14]),
        "cheek": np.array([205, 425, 187, 411, 207, 427, 50, 280, 216, 436]),
        "jaw": np.array([152, 148, 377, 175, 199, 17, 14, 84, 314]),
    }
    own = next(region for region in regions if name.startswith(region))
    moved = np.linalg.norm(head.landmarks(expression(**{name: 1.0})) - head.landmarks(expression()), axis=1)
    mean = {region: moved[rows].mean() for region, rows in regions.items()}
    rivals = {region: value for region, value in mean.items() if region != own and {region, own} != {"jaw", "mouth"}}
    assert mean[own] > 0.05 and mean[own] > 1.4 * max(rivals.values()), mean


def test_jaw_open_changes_the_mouth_and_hardly_anything_else(head):
    shut, wide = neutral(head), head.render(expression(jawOpen=1.0), REST, INTRINSICS)
    pixels = project(head.landmarks(expression(jawOpen=1.0)), REST, INTRINSICS)
    mouth = box_around(pixels[list(LIP_LANDMARKS)], 2)
    difference = np.abs(wide.image.astype(float) - shut.image).mean(-1)
    upper_face = slice(0, int(pixels[1, 1]))
    assert difference[mouth].mean() > 25
    assert difference[upper_face].max() < 6 and difference[upper_face].mean() < 0.02
    # Dark inside, bright teeth.
    luminance = wide.image[mouth].mean(-1)
    assert luminance.min() < 40 and luminance.max() > 120


@pytest.mark.parametrize("side, own, other", [("Left", LEFT_EYE_LANDMARKS, RIGHT_EYE_LANDMARKS),
                                              ("Right", RIGHT_EYE_LANDMARKS, LEFT_EYE_LANDMARKS)])  # fmt: skip
def test_a_blink_closes_the_persons_own_lid(head, side, own, other):
    intrinsics = default_intrinsics(256, 256)
    pixels = project(head.landmarks(expression()), REST, intrinsics)
    own_box, other_box = box_around(pixels[list(own)], 0), box_around(pixels[list(other)], 0)
    # The person's left is the image's right.
    assert (own_box[1].start > 128) == (side == "Left")
    closed_landmarks = head.landmarks(expression(**{f"eyeBlink{side}": 1.0}))
    upper, lower = closed_landmarks[own[4]], closed_landmarks[own[12]]
    assert abs(upper[1] - lower[1]) < 0.2

    opened = head.render(expression(), REST, intrinsics).image.astype(float)
    closed = head.render(expression(**{f"eyeBlink{side}": 1.0}), REST, intrinsics).image.astype(float)
    assert np.array_equal(opened[other_box], closed[other_box])

    def blueness(image):  # this person's iris is blue and the sclera grey, skin is neither
        return (image[own_box][..., 2] >= image[own_box][..., 0] - 12).mean()

    assert blueness(opened) > 0.35 and blueness(closed) < 0.02


def test_gaze_turns_the_iris_towards_the_named_side(head):
    rest = head.landmarks(expression())[[468, 473]]
    out_left = head.landmarks(expression(eyeLookOutLeft=1.0))[[468, 473]]
    assert out_left[1, 0] - rest[1, 0] > 0.4 and np.array_equal(out_left[0], rest[0])
    in_right = head.landmarks(expression(eyeLookInRight=1.0))[[468, 473]]
    assert in_right[0, 0] - rest[0, 0] > 0.4  # towards the nose is +x for the right eye
    up = head.landmarks(expression(eyeLookUpLeft=1.0))[473]
    assert up[1] - rest[1, 1] > 0.3


def test_shoulders_stay_and_the_neck_follows_in_part(head):
    pose = head_pose(25.0, 0.0, 0.0)
    moved = head.vertices(expression(), pose) @ pose[:3, :3].T + pose[:3, 3]  # to the world
    still = head.vertices(expression())
    distance = np.linalg.norm(moved - still, axis=1)
    assert distance[head.mesh.vertex_range[Part.CLOTHES]].max() < 1e-4
    assert distance[head.mesh.vertex_range[Part.SKIN]].max() > 3.0
    neck = head.mesh.vertex_range[Part.NECK]
    height = still[neck, 1]
    assert distance[neck][height < -15.5].max() < 1e-4
    assert distance[neck][height > -7.0].max() > 1.0


def test_a_given_head_pose_allows_an_orbit(head):
    orbit = camera_to_head(head_pose(30.0, 0.0, 0.0))
    turned = head.render(expression(), orbit, INTRINSICS)
    circled = head.render(expression(), orbit, INTRINSICS, head_to_world=np.eye(4))
    shoulders = turned.labels == Label.TORSO
    assert (circled.labels[shoulders] != Label.TORSO).mean() > 0.02  # the shoulders have turned with the head
    head_rows = turned.labels == Label.HEAD
    assert (circled.labels[head_rows] == Label.HEAD).mean() > 0.97


def test_painted_borders_follow_the_sculpted_ones():
    @wp.kernel
    def paint(x: wp.array(dtype=float), y: wp.array(dtype=float), lip: wp.array(dtype=float)):  # type: ignore
        index = wp.tid()
        lip[index] = shading.lip_mask(x[index], y[index], 9.0, 1.0, 0.01)

    x = np.linspace(0.0, 2.2, 12, dtype=np.float32)
    _, _, upper, lower = sculpt.lip_curves(x)
    for border, inward in ((upper, -1.0), (lower, 1.0)):
        for offset, expected in ((0.03 * inward, 1.0), (-0.03 * inward, 0.0)):
            mask = wp.zeros(len(x), dtype=float, device="cpu")
            inputs = [wp.array(x, device="cpu"), wp.array((border + offset).astype(np.float32), device="cpu"), mask]
            wp.launch(paint, dim=len(x), inputs=inputs, device="cpu")
            np.testing.assert_allclose(mask.numpy(), expected, atol=1e-4)


def test_bad_requests_are_refused(head):
    with pytest.raises(UserError, match="images of 8 x 64 are too small for a head; use at least 16 x 16"):
        default_intrinsics(8, 64)
    with pytest.raises(ValueError, match="expected 21 coefficients"):
        head.render(np.zeros(3, np.float32), REST, INTRINSICS)


def test_a_frame_at_128_takes_well_under_a_second(head):
    neutral(head)
    start = time.process_time()  # Not that of what else runs.
    for _ in range(5):
        neutral(head)
    assert (time.process_time() - start) / 5 < 1.0  # 0.1 on two idle cores
