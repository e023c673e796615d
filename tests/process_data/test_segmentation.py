import cv2
import numpy as np
import pytest

from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.errors import UserError
from nerfblendshape_ns.process_data import segmentation
from nerfblendshape_ns.process_data.clip_model import ClipModel, SampleFrame, hanging_support, standing_support
from nerfblendshape_ns.process_data.colour_models import BINS, ColourModel, colour_bins
from nerfblendshape_ns.process_data.face_layout import (
    FACE_OVAL,
    JAW_LINE,
    RIGID,
    HeadFrame,
    face_geometry,
    fill_lost_landmarks,
)
from nerfblendshape_ns.process_data.guided_filter import ColourGuide
from nerfblendshape_ns.process_data.label_cleanup import absorb_islands, cut_slivers, tidy_labels
from nerfblendshape_ns.process_data.temporal_consensus import TemporalConsensus

BACKGROUND, HEAD, NECK, TORSO = (int(label) for label in Label)
SKIN, HAIR, CLOTH, WALL = (205, 150, 130), (60, 40, 25), (40, 60, 140), (150, 190, 160)


def drawn_landmarks(centre=(64.0, 50.0), half_width=18.0, half_height=24.0, jaw_open=0.0) -> np.ndarray:
    """478 landmarks of an elliptic face whose outline is exact; everything inside is placed roughly."""
    x, y = centre
    points = np.zeros((478, 2), np.float32)
    points[:] = (x, y)
    angles = np.linspace(-np.pi / 2, 1.5 * np.pi, len(FACE_OVAL), endpoint=False)
    for index, angle in zip(FACE_OVAL, angles):
        drop = jaw_open * max(0.0, np.sin(angle))
        points[index] = (x + half_width * np.cos(angle), y + half_height * np.sin(angle) + drop)
    eyes = {33: -10, 133: -4, 362: 4, 263: 10}
    for index, shift in eyes.items():
        points[index] = (x + shift, y - 6)
    for row, index in enumerate((151, 9, 8, 168, 6, 197, 195, 5)):
        points[index] = (x, y - 18 + 3 * row)
    points[98], points[327] = (x - 3, y + 6), (x + 3, y + 6)
    return points


def drawn_person(landmarks: np.ndarray, size: int = 128, collar_colour=CLOTH):
    """A person as ellipses on a wall, and the true labels: hair cap, face, neck, shoulders."""
    image = np.full((size, size, 3), WALL, np.uint8)
    truth = np.zeros((size, size), np.uint8)
    centre = landmarks[list(FACE_OVAL)].mean(0)
    x, y = int(centre[0]), int(centre[1])

    def paint(colour, label, draw):
        mask = np.zeros((size, size), np.uint8)
        draw(mask)
        image[mask > 0] = colour
        truth[mask > 0] = label

    paint(collar_colour, TORSO, lambda mask: cv2.ellipse(mask, (x, y + 72), (48, 38), 0, 0, 360, 1, -1))
    paint(SKIN, NECK, lambda mask: cv2.rectangle(mask, (x - 10, y + 15), (x + 10, y + 40), 1, -1))
    paint(HAIR, HEAD, lambda mask: cv2.ellipse(mask, (x, y - 6), (22, 27), 0, 180, 360, 1, -1))
    oval = np.rint(landmarks[list(FACE_OVAL)]).astype(np.int32)
    paint(SKIN, HEAD, lambda mask: cv2.fillPoly(mask, [oval], 1))
    noise = np.random.default_rng(0).normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), truth


class DrawnPersonMask:
    """Stands in for the network: all that is not the wall's colour."""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return None

    def __call__(self, frame):
        distance = np.abs(frame.astype(int) - np.array(WALL)).max(-1)
        mask = cv2.medianBlur((distance > 30).astype(np.uint8), 5)
        return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0)


@pytest.fixture
def drawn_clip():
    landmarks = np.stack([drawn_landmarks((64 + 4 * np.sin(0.6 * i), 50.0), jaw_open=2.0 * (i % 3)) for i in range(10)])
    drawn = [drawn_person(points) for points in landmarks]
    return [image for image, _ in drawn], landmarks, np.stack([truth for _, truth in drawn])


def test_drawn_person_gets_the_right_labels(drawn_clip, monkeypatch):
    frames, landmarks, truth = drawn_clip
    monkeypatch.setattr(segmentation, "PersonMask", DrawnPersonMask)
    done = []
    result = segmentation.segment_clip(frames, landmarks, done.append)
    assert done == list(range(1, 11))
    assert result.labels.dtype == np.uint8 and result.labels.shape == truth.shape
    for label, bound in ((BACKGROUND, 0.97), (HEAD, 0.95), (NECK, 0.75), (TORSO, 0.9)):
        mine, wanted = result.labels == label, truth == label
        assert (mine & wanted).sum() / (mine | wanted).sum() > bound, Label(label).name
    assert result.statistics.mean_iou > 0.9
    assert abs(sum(result.statistics.mean_areas.values()) - 1) < 1e-9


def test_shirt_in_the_colour_of_the_hair_is_not_head(monkeypatch):
    landmarks = np.stack([drawn_landmarks((64.0 + i % 3, 50.0)) for i in range(6)])
    drawn = [drawn_person(points, collar_colour=HAIR) for points in landmarks]
    monkeypatch.setattr(segmentation, "PersonMask", DrawnPersonMask)
    labels = segmentation.segment_clip([image for image, _ in drawn], landmarks).labels
    shirt = np.stack([truth for _, truth in drawn]) == TORSO
    assert (labels[shirt] == HEAD).mean() < 0.01
    assert (labels[shirt] == TORSO).mean() > 0.9


def test_lost_frames_are_labelled_from_their_neighbours(drawn_clip, monkeypatch):
    frames, landmarks, truth = drawn_clip
    monkeypatch.setattr(segmentation, "PersonMask", DrawnPersonMask)
    lost = landmarks.copy()
    lost[[0, 4]] = np.nan
    labels = segmentation.segment_clip(frames, lost).labels
    head, wanted = labels[4] == HEAD, truth[4] == HEAD
    assert (head & wanted).sum() / (head | wanted).sum() > 0.9


def test_wrong_input_has_its_own_message(drawn_clip):
    frames, landmarks, _ = drawn_clip
    with pytest.raises(UserError, match="9 rows of landmarks were given for 10 frames; track"):
        segmentation.segment_clip(frames, landmarks[:9])
    with pytest.raises(UserError, match="no frame of the clip has a face to segment; choose"):
        segmentation.segment_clip(frames, np.full_like(landmarks, np.nan))


def test_lost_landmarks_are_interpolated_in_time():
    landmarks = np.full((5, 1, 2), np.nan)
    landmarks[1], landmarks[3] = 10.0, 20.0
    assert fill_lost_landmarks(landmarks)[:, 0, 0].tolist() == [10.0, 10.0, 15.0, 20.0, 20.0]


def test_head_frame_undoes_similarity_motion():
    base = drawn_landmarks()
    angle, scale, shift = np.radians(20), 1.7, np.array([30.0, -12.0])
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (scale * base @ rotation.T + shift).astype(np.float32)
    head_frame = HeadFrame(np.stack([base, moved]))
    np.testing.assert_allclose(
        head_frame.to_canonical(0, base[list(RIGID)]), head_frame.to_canonical(1, moved[list(RIGID)]), atol=1e-4
    )
    assert head_frame.face_height(1) == pytest.approx(1.7 * head_frame.face_height(0), rel=1e-4)
    # The oval of the drawn face is 48 pixels high, and that is the canonical unit.
    assert head_frame.face_height(0) == pytest.approx(48.0, rel=1e-3)
    chin, top = head_frame.to_canonical(0, base[[152, 10]])
    np.testing.assert_allclose(chin - top, [0.0, 1.0], atol=1e-3)
    x, y = head_frame.grid(0, 64, 64, pixel_size=2.0)
    # The centre of working pixel (row 20, column 30) lies at full-size position (61, 41).
    np.testing.assert_allclose([x[20, 30], y[20, 30]], head_frame.to_canonical(0, np.array([61.0, 41.0])), atol=1e-5)


def test_geometry_keeps_an_open_jaw_inside_the_face():
    closed, opened = drawn_landmarks(), drawn_landmarks(jaw_open=12.0)
    head_frame = HeadFrame(np.stack([closed, opened]))
    shut = face_geometry(head_frame, 0, closed, 128, 128, 1.0)
    wide = face_geometry(head_frame, 1, opened, 128, 128, 1.0)
    assert not shut.oval[83, 64] and wide.oval[83, 64]
    assert wide.chin > shut.chin + 0.2
    assert wide.below_jaw[90, 64] > 0 > wide.below_jaw[80, 64]
    assert JAW_LINE[10] == 152


def test_colour_model_knows_what_it_saw():
    red, blue = np.full((4, 4, 3), (200, 30, 30), np.uint8), np.full((4, 4, 3), (30, 30, 200), np.uint8)
    model = ColourModel()
    assert (model.log_density() == 0).all()
    model.add(colour_bins(red), np.ones((4, 4)))
    assert model.weight == 16
    density = model.log_density(uniform_share=0.02)
    assert density.shape == (BINS**3,)
    assert density[colour_bins(red)[0, 0]] > 5
    assert density[colour_bins(blue)[0, 0]] == pytest.approx(np.log(0.02), abs=1e-3)
    # With the uniform share it is a density: its mean over all bins is 1.
    assert np.exp(density.astype(np.float64)).mean() == pytest.approx(1.0, rel=1e-3)


def test_shades_of_skin_are_the_neck_but_a_white_collar_is_not():
    def pixel(colour):
        return np.full((1, 1, 3), colour, np.uint8)

    model = ColourModel()
    generator = np.random.default_rng(4)
    skin = np.clip(generator.normal((205, 150, 130), 6, (40, 40, 3)), 0, 255).astype(np.uint8)
    model.add(colour_bins(skin), np.ones((40, 40)))
    shades = model.shades()
    assert shades[colour_bins(pixel((205, 150, 130)))[0, 0]] > 0.7
    assert shades[colour_bins(pixel((144, 105, 91)))[0, 0]] > 0.5  # the same skin in the shadow of the chin
    assert shades[colour_bins(pixel((230, 230, 230)))[0, 0]] < 0.2
    assert shades[colour_bins(pixel((40, 60, 140)))[0, 0]] < 0.01
    assert (ColourModel().shades() == 1).all()


def test_guided_filter_keeps_edges_and_affine_images():
    generator = np.random.default_rng(1)
    guide = generator.random((40, 50, 3)).astype(np.float32)
    filtered = ColourGuide(guide, radius=4, epsilon=1e-6)
    affine = guide @ np.array([0.5, -0.2, 0.3], np.float32) + 0.1
    np.testing.assert_allclose(filtered.filter(affine), affine, atol=1e-3)
    np.testing.assert_allclose(filtered.filter(np.full((40, 50), 0.7, np.float32)), 0.7, atol=1e-4)

    # A mask that is two pixels off an edge of the picture moves onto it when it is brought to full size.
    large = np.zeros((64, 64, 3), np.float32)
    large[:, 32:] = 0.8
    small = cv2.resize(large, (32, 32), interpolation=cv2.INTER_AREA)
    mask = np.zeros((32, 32), np.float32)
    mask[:, 18:] = 1
    sharp = ColourGuide(small, radius=4, epsilon=1e-4).upsample(mask, large)
    assert sharp.shape == (64, 64)
    assert ((sharp[:, 20:44] > 0.5) == (large[:, 20:44, 0] > 0.5)).mean() > 0.95


def labels_of(size=60):
    labels = np.zeros((size, size), np.uint8)
    labels[10:35, 20:40] = HEAD
    labels[35:45, 25:35] = NECK
    labels[45:, 10:50] = TORSO
    return labels


def test_islands_and_holes_go():
    clean = labels_of()
    dirty = clean.copy()
    dirty[50:53, 20:23] = HEAD  # a piece of head in the clothes
    dirty[20, 28:30] = BACKGROUND  # a hole in the face
    dirty[28:30, 30:32] = TORSO  # clothes in the face
    dirty[2:4, 2:4] = HEAD  # a piece of head on the wall
    dirty[38, 28] = TORSO  # a speck on the neck
    np.testing.assert_array_equal(tidy_labels(dirty, (30.0, 20.0), face_height=20.0), clean)


def test_head_piece_is_the_one_with_the_face():
    labels = np.zeros((40, 40), np.uint8)
    labels[2:10, 2:10] = HEAD
    labels[15:38, 15:38] = HEAD
    kept = absorb_islands(labels, HEAD, keep_point=(5.0, 5.0))
    assert (kept[2:10, 2:10] == HEAD).all() and (kept[15:] == BACKGROUND).all()
    largest = absorb_islands(labels, HEAD)
    assert (largest[15:38, 15:38] == HEAD).all() and (largest[:12] == BACKGROUND).all()


def test_two_halves_of_a_neck_beside_the_chin_both_stay():
    labels = np.zeros((40, 40), np.uint8)
    labels[:, 5:35] = HEAD
    labels[34:, 8:14] = NECK
    labels[34:, 26:32] = NECK
    np.testing.assert_array_equal(tidy_labels(labels, (20.0, 10.0), face_height=30.0), labels)


def test_spikes_towards_the_clothes_go_but_hair_against_the_wall_stays():
    labels = labels_of()
    labels[35:44, 25:26] = HEAD  # a sliver down the side of the neck
    labels[35:44, 24:25] = NECK
    labels[4:10, 30] = HEAD  # a wisp of hair
    cut = cut_slivers(labels, radius=2)
    assert (cut[37:43, 25] == NECK).all() and (cut[37:45] != HEAD).all()
    assert (cut[5:10, 30] == HEAD).all()


def test_consensus_removes_flicker():
    grey = cv2.GaussianBlur(np.random.default_rng(2).integers(0, 255, (48, 64)).astype(np.uint8), (0, 0), 2)
    steady = np.zeros((2, 48, 64), np.float32)
    steady[1, 10:40, 10:50] = 0.9
    steady[0] = 1 - steady[1]
    flickering = steady.copy()
    flickering[1, 20:30, 20:30] = 0.2  # one frame loses a patch
    flickering[0] = 1 - flickering[1]
    window = [steady, steady, steady, flickering, steady, steady, steady]
    smooth = TemporalConsensus(3).combine([grey] * 7, window, 3)
    assert (smooth[1, 12:38, 12:48] > 0.5).all()
    assert (smooth[1, :8] < 0.1).all()
    np.testing.assert_allclose(smooth.sum(0), 1, atol=1e-5)


def test_consensus_follows_motion():
    generator = np.random.default_rng(3)
    texture = cv2.GaussianBlur(generator.integers(0, 255, (64, 96)).astype(np.uint8), (0, 0), 1.5)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    greys, window = [], []
    for shift in (-4, -2, 0, 2, 4):
        greys.append(np.ascontiguousarray(np.roll(texture, shift, axis=1)))
        probabilities = np.zeros((2, 64, 96), np.float32)
        probabilities[1, 20:44, 36 + shift : 60 + shift] = 1
        probabilities[0] = 1 - probabilities[1]
        window.append(probabilities)
    smooth = TemporalConsensus(2).combine(greys, window, 2)
    # Averaged without motion the edge columns 36 and 59 would get about half.
    assert smooth[1, 24:40, 38:58].min() > 0.9
    assert smooth[1, 24:40, 36:60].mean() > 0.93
    assert smooth[1, 24:40, :32].max() < 0.1


def test_single_frame_window_changes_nothing():
    probabilities = np.full((4, 8, 8), 0.25, np.float32)
    grey = np.zeros((8, 8), np.uint8)
    np.testing.assert_array_equal(TemporalConsensus(0).combine([grey], [probabilities], 0), probabilities)


def test_hair_needs_hair_above_it():
    landmarks = drawn_landmarks()
    layout = face_geometry(HeadFrame(landmarks[None]), 0, landmarks, 128, 128, 1.0)
    hair = np.zeros((128, 128), np.float32)
    hair[20:110, 30:40] = 1  # long hair on the left
    hair[20:50, 88:98] = 1  # short hair on the right,
    hair[75:110, 88:98] = 1  # and below a gap a collar of the same colour
    support = hanging_support(hair, layout)
    assert support[105, 35] > 0.9
    assert support[80, 93] < 0.05
    assert (support[layout.y < layout.lobes] == 1).all()


def test_clothes_need_clothes_below_them():
    cloth = np.zeros((320, 256), np.float32)
    cloth[200:, 40:120] = 1
    support = standing_support(cloth)
    assert support[250, 80] == 1
    # Half after 0.25 units (16 rows) without clothes; the unknown below the map counts half.
    assert support[184, 80] == pytest.approx(0.5, abs=1e-3)
    assert support[304, 200] == pytest.approx(0.25, abs=1e-3)


def test_clip_model_probabilities_sum_to_one(drawn_clip):
    frames, landmarks, _ = drawn_clip
    head_frame = HeadFrame(landmarks)
    samples = [
        SampleFrame(
            colour_bins(frame),
            DrawnPersonMask()(frame),
            face_geometry(head_frame, index, landmarks[index], 128, 128, 1.0),
        )
        for index, frame in enumerate(frames[:3])
    ]
    probabilities = ClipModel(samples).label_probabilities(samples[0])
    assert probabilities.shape == (4, 128, 128)
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-5)


def test_statistics_by_hand():
    statistics = segmentation.SegmentationStatistics()
    first, second = np.zeros((2, 4), np.uint8), np.zeros((2, 4), np.uint8)
    first[0, :2] = HEAD
    second[0, 1:3] = HEAD
    second[1] = TORSO
    statistics.add(first)
    assert statistics.mean_iou == 1 and statistics.min_iou == 1
    statistics.add(second)
    # One pixel in common of three in either.
    assert statistics.ious == [pytest.approx(1 / 3)]
    assert statistics.mean_areas == {"background": 0.5, "head": 0.25, "neck": 0.0, "torso": 0.25}


@pytest.mark.parametrize("name", ["plain_216f_30fps", "longhair_200f_25fps"])
def test_real_clip_is_steady(name, clips_folder, landmarker_path):
    mediapipe = pytest.importorskip("mediapipe")
    from mediapipe.tasks import python as tasks
    from mediapipe.tasks.python import vision

    capture = cv2.VideoCapture(str(clips_folder / f"{name}.mp4"))
    frames = []
    for _ in range(24):
        read, image = capture.read()
        assert read
        frames.append(np.ascontiguousarray(image[..., ::-1]))
    capture.release()
    options = vision.FaceLandmarkerOptions(
        base_options=tasks.BaseOptions(model_asset_path=str(landmarker_path)), running_mode=vision.RunningMode.IMAGE
    )
    landmarks = []
    with vision.FaceLandmarker.create_from_options(options) as landmarker:
        for frame in frames:
            found = landmarker.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=frame))
            height, width = frame.shape[:2]
            landmarks.append([(point.x * width, point.y * height) for point in found.face_landmarks[0]])
    tracked = np.array(landmarks, np.float32)
    result = segmentation.segment_clip(frames, tracked)
    assert result.statistics.mean_iou > 0.98
    assert result.statistics.min_iou > 0.93
    for labels, points in zip(result.labels, tracked):
        outline = points[list(FACE_OVAL)]
        inside = points.mean(0) + 0.9 * (outline - points.mean(0))
        rows = np.clip(inside[:, 1].astype(int), 0, labels.shape[0] - 1)
        columns = np.clip(inside[:, 0].astype(int), 0, labels.shape[1] - 1)
        assert (labels[rows, columns] == HEAD).all()
        pieces, _ = cv2.connectedComponents((labels == HEAD).astype(np.uint8), connectivity=4)
        assert pieces == 2  # the rest of the image and one head


def test_without_mediapipe_the_message_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "mediapipe.python.solutions", None)
    with pytest.raises(UserError, match=r"needs MediaPipe 0.10.9.*install this package with the extra \[track\]"):
        segmentation.PersonMask()
