"""Where the error lies, on pictures whose misalignment is known."""

import math

import cv2
import numpy as np
import pytest
import torch
from made_pictures import blurred, square, texture
from tiny_head import camera, make

from nerfblendshape_ns.evaluation.misalignment import floaters, misalignment, pixels_without_cell
from nerfblendshape_ns.synthetic.camera import camera_to_head, default_intrinsics
from nerfblendshape_ns.synthetic.head import synthetic_head
from nerfblendshape_ns.synthetic.motion import talking_motion


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("shift", [0.1, 0.25, 0.5, 2.0])
def test_a_shift_is_found_in_pixels_of_the_image(size, shift):
    found = misalignment(texture(size), texture(size, shift), square(size, size // 8, size - size // 8))
    assert found["misalignment"] == pytest.approx(shift, abs=0.01)
    # Aligning takes nearly all of the error away.
    assert found["psnr_inside_aligned"] > 55 > 45 > found["psnr_inside"]
    assert found["psnr_mask_aligned"] > 55 > 45 > found["psnr_mask"]


def test_nothing_for_equal_images():
    image = texture(64)
    found = misalignment(image, image, square(64, 8, 56))
    assert found["misalignment"] == 0.0
    assert found["psnr_mask"] == found["psnr_inside"] == 100.0
    assert math.isnan(found["outline_share"])


def test_outline_share_by_hand():
    """An image of 128: the inside of a mask of rows and columns 32 to 95 is 35 to 92."""
    truth = torch.ones(128, 128, 3)
    mask = square(128, 32, 96)
    deep, rim, beyond = (60, 60), (34, 60), (10, 10)
    prediction = truth.clone()
    prediction[deep] -= 0.3
    assert misalignment(truth, prediction, mask)["outline_share"] == pytest.approx(0.0, abs=1e-6)
    prediction[rim] -= 0.3
    assert misalignment(truth, prediction, mask)["outline_share"] == pytest.approx(0.5, abs=1e-6)
    prediction[beyond] -= 0.6  # Four times the squared error.
    found = misalignment(truth, prediction, mask)
    assert found["outline_share"] == pytest.approx(5 / 6, abs=1e-6)
    assert found["psnr_mask"] == pytest.approx(-10 * math.log10(2 * 0.09 / 64**2), abs=1e-3)
    assert found["psnr_inside"] == pytest.approx(-10 * math.log10(0.09 / 58**2), abs=1e-3)


@pytest.mark.parametrize("size, rim", [(32, 1), (64, 2), (128, 3), (256, 6)])
def test_the_rim_grows_with_the_image(size, rim):
    truth, mask = torch.ones(size, size, 3), square(size, size // 4, size - size // 4)
    for depth, share in ((rim - 1, 1.0), (rim, 0.0)):
        prediction = truth.clone()
        prediction[size // 4 + depth, size // 2] = 0.5
        assert misalignment(truth, prediction, mask)["outline_share"] == pytest.approx(share, abs=1e-6)


def test_what_holds_the_prediction_itself_is_no_error_once_that_is_moved():
    prediction, seen = texture(64, 2.0), torch.ones(64, 64, dtype=torch.bool)
    truth = texture(64)
    seen[20:40, 20:40] = False
    truth[~seen] = prediction[~seen]
    counted, left_out = (misalignment(truth, prediction, square(64, 4, 60), each) for each in (None, seen))
    assert left_out["psnr_aligned"] > counted["psnr_aligned"] and left_out["psnr_mask"] == counted["psnr_mask"]


def test_an_empty_mask_has_no_measure():
    found = misalignment(texture(64), texture(64, 0.5), torch.zeros(64, 64, dtype=torch.bool))
    values = {name for name, value in found.items() if math.isnan(value)}
    assert values == {"misalignment", "psnr_mask", "psnr_inside", "psnr_mask_aligned", "psnr_inside_aligned"}
    assert found["outline_share"] == 1.0


@pytest.fixture(scope="module")
def synthetic():
    """A frame of the synthetic head, over white, and its mask."""
    motion = talking_motion(40, 5.0, 0)
    pose = camera_to_head(motion.head_to_world)[10]
    frame = synthetic_head(0).render(motion.expressions[10], pose, default_intrinsics(128, 128), samples=4)
    alpha = frame.alpha[..., None]
    image = frame.image / np.float32(255) * alpha + 1 - alpha
    return torch.from_numpy(image), torch.from_numpy(frame.alpha > 0.5)


def jpeg(image: torch.Tensor) -> torch.Tensor:
    levels = (image.numpy() * 255).round().astype(np.uint8)
    coded = cv2.imencode(".jpg", levels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    return torch.from_numpy(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1] / np.float32(255))


def test_noise_floor_on_the_synthetic_head(synthetic):
    truth, mask = synthetic
    noise = 0.02 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    for render in (truth + noise, jpeg(truth), blurred(truth, 0.5)):
        assert misalignment(truth, render, mask)["misalignment"] < 0.1
    for shift in (0.25, 0.5, 1.0):
        moved = cv2.warpAffine(
            truth.numpy(),
            np.array([[1, 0, shift], [0, 1, 0]], np.float32),
            (128, 128),
            flags=cv2.INTER_LANCZOS4,
            borderMode=cv2.BORDER_REPLICATE,
        )
        found = misalignment(truth, torch.from_numpy(moved), mask)
        assert found["misalignment"] == pytest.approx(shift, abs=0.03)
        assert found["psnr_inside_aligned"] > found["psnr_inside"] + 2


def test_pixels_without_an_allowed_cell():
    """Cells right of the middle alone may be occupied, and columns 8 to 11 of a mask of columns 4 to 11 see them."""
    model, view = make(), camera({"expression": torch.zeros(1, 3)})
    model.occupancy.start_from(model.occupancy.cell_centers()[:, 0] > 0)
    model.occupancy.estimator.binaries.fill_(False)  # What is occupied now does not matter.
    assert pixels_without_cell(model, view, square(16, 4, 12)) == 0.5
    right, one_of_four = torch.zeros(2, 16, 16, dtype=torch.bool)
    right[6:10, 9:12] = True
    one_of_four[6, 7:11] = True
    assert pixels_without_cell(model, view, right) == 0.0
    assert pixels_without_cell(model, view, one_of_four) == 0.25
    assert math.isnan(pixels_without_cell(model, view, torch.zeros(16, 16, dtype=torch.bool)))
    assert not model.occupancy.estimator.binaries.any()
    assert view.metadata is not None  # The caller's camera keeps its expression.


def test_floaters_by_hand():
    """An image of 128: the mask of rows and columns 40 to 59 with its rim of 3 leaves all but 26 x 26 pixels."""
    alpha, accumulation = torch.zeros(2, 128, 128, 1)
    alpha[40:60, 40:60] = 1.0
    alpha[40:60, 60] = 0.3  # Soft: seen as well.
    alpha[100:] = 0.005  # What a matte has all over.
    accumulation[36:64, 36:65] = 1.0
    beyond = 128**2 - 26 * 27
    assert floaters(accumulation, alpha)[0] == pytest.approx((28 * 29 - 26 * 27) / beyond, rel=1e-5)
    accumulation[37:63, 36:65] = 0.0
    accumulation[36], accumulation[63] = 0.0, 0.0
    assert floaters(accumulation, alpha) == (0.0, 0.0)
    accumulation[5, 5], accumulation[110, 5] = 0.5, 0.25
    assert floaters(accumulation, alpha) == (pytest.approx(0.75 / beyond, rel=1e-5), 0.5)


def test_no_floaters_where_the_mask_fills_the_image():
    full = torch.ones(32, 32, 1)
    assert all(map(math.isnan, floaters(full, full)))
