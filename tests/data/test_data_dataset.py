import copy
import pickle
import time

import cv2
import numpy as np
import pytest
import torch
from tiny_clips import BACKGROUND_COLOUR, HEAD_COLOUR, SIZE

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.memory import uninitialised
from nerfblendshape_ns.data import dataset as dataset_module
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParserConfig
from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset, truth_of_frame
from nerfblendshape_ns.data.labels import soft_alpha


def dataset(root, split="train", scale_factor=1.0, **options) -> NerfBlendshapeDataset:
    outputs = NerfBlendshapeDataParserConfig(data=root, **options).setup().get_dataparser_outputs(split)
    return NerfBlendshapeDataset(outputs, scale_factor)


def test_head_on_white_at_full_size(own_clip):
    root, truth = own_clip(12)
    data = dataset(root).get_data(2)
    assert data["image"].shape == (SIZE, SIZE, 3) and data["image"].dtype == torch.float32
    assert data["alpha"].shape == data["labels"].shape == (SIZE, SIZE, 1) and data["labels"].dtype == torch.uint8
    np.testing.assert_array_equal(data["labels"][..., 0], truth.labels[2])
    alpha = soft_alpha(truth.labels[2])[..., None]
    np.testing.assert_allclose(data["alpha"], alpha, atol=0.5 / 255 + 1e-6)
    stored = cv2.imread(str(root / "images" / "000002.jpg"))[..., ::-1] / 255
    np.testing.assert_allclose(data["image"], stored * alpha + 1 - alpha, atol=2 / 255)


def test_downscaled_head_on_white_is_the_average_of_the_full_one(own_clip):
    root, _ = own_clip(12)
    full = dataset(root).get_data(4)["image"].numpy()
    small = dataset(root, max_size=SIZE // 4).get_data(4)["image"].numpy()
    np.testing.assert_allclose(small, full.reshape(SIZE // 4, 4, SIZE // 4, 4, 3).mean((1, 3)), atol=2.5 / 255)


def test_no_background_under_the_soft_edge(own_clip):
    """The raw colours of the head target hold the head alone, so that any background can go behind it."""
    root, _ = own_clip(12)
    head = dataset(root, max_size=SIZE // 4)
    head.load()
    # A pixel that the head covers for the most part: averaged plainly it would be halfway to the background.
    covered = (head.alpha > 40) & (head.alpha < 230)
    assert covered.any()
    distance_to_head = (head.images[covered].float() - torch.tensor(HEAD_COLOUR)).norm(dim=-1)
    distance_to_background = (head.images[covered].float() - torch.tensor(BACKGROUND_COLOUR)).norm(dim=-1)
    assert (distance_to_head < distance_to_background).float().mean() > 0.95


def test_frame_target_gives_the_frame(own_clip):
    root, truth = own_clip(12)
    data = dataset(root, target="frame").get_data(0)
    np.testing.assert_allclose(data["image"] * 255, truth.images[0], atol=40)
    assert np.abs(data["image"].numpy() * 255 - truth.images[0]).mean() < 1.5
    assert data["alpha"].max() == 1


@pytest.mark.parametrize("target", ["head", "frame"])
def test_a_frame_of_no_dataset_is_measured_as_a_frame_of_one(own_clip, target):
    root, _ = own_clip(12)
    data = dataset(root, target=target)
    height, width = data.image_size
    truth = truth_of_frame(data.frame_files[3], (height, width), (height, width), target)
    expected = {name: value for name, value in data.get_data(3).items() if isinstance(value, torch.Tensor)}
    assert truth.keys() == expected.keys()
    for name, value in truth.items():
        torch.testing.assert_close(value, expected[name], msg=name)


def test_uint8_images(own_clip):
    root, _ = own_clip(12)
    data = dataset(root)
    assert data.get_data(1, "uint8")["image"].dtype == torch.uint8
    np.testing.assert_array_equal(data.get_numpy_image(1), data.get_data(1, "uint8")["image"])


def test_scale_factor_scales_images_cameras_and_regions(own_clip):
    root, truth = own_clip(12)
    half = dataset(root, scale_factor=0.5)
    assert half.image_size == (SIZE // 2, SIZE // 2)
    assert half.get_data(0)["image"].shape == (SIZE // 2, SIZE // 2, 3)
    np.testing.assert_allclose(half.regions["face"][0], np.array(truth.face_rect) / 2)


def test_images_are_read_when_asked_for(own_clip):
    root, _ = own_clip(12)
    data = dataset(root)
    (root / "images" / "000003.jpg").unlink()
    data.get_data(2)
    with pytest.raises(ValueError, match="000003.jpg does not exist"):
        data.get_data(3)


def test_load_equals_reading_one_by_one(own_clip):
    root, _ = own_clip(12)
    together, single = dataset(root), dataset(root)
    together.load()
    for index in range(len(single)):
        single.ensure_loaded(index)
    assert torch.equal(together.images, single.images) and torch.equal(together.alpha, single.alpha)
    assert set(together.labels.unique().tolist()) == {int(label) for label in Label if label != Label.OCCLUDED}


def test_no_more_images_are_read_after_a_broken_one(own_clip, monkeypatch):
    """Else the message comes when all of a long clip are read."""
    root, _ = own_clip(40)
    data, asked = dataset(root), []
    (root / "images" / "000000.jpg").write_bytes(b"")
    monkeypatch.setattr(data, "ensure_loaded", lambda index: (asked.append(index), load(index), time.sleep(0.01)))
    load = NerfBlendshapeDataset.ensure_loaded.__get__(data)
    with pytest.raises(UserError, match=r"000000\.jpg cannot be decoded"):
        data.load()
    assert 0 in asked and len(asked) < 20


def test_dataset_can_be_copied_and_pickled(own_clip):
    root, _ = own_clip(12)
    data = dataset(root)
    expected = data.get_data(0)["image"]
    for twin in (copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
        assert torch.equal(twin.get_data(0)["image"], expected)


@pytest.mark.parametrize("target", ["head", "frame"])
def test_images_that_are_too_many_for_memory_lie_in_a_file(own_clip, monkeypatch, target):
    root, _ = own_clip(12)
    made = []
    monkeypatch.setattr(dataset_module, "uninitialised", lambda *of: made.append(uninitialised(*of)) or made[-1])
    expected, mapped = dataset(root, target=target), dataset(root, target=target)
    expected.load()
    monkeypatch.setattr(dataset_module, "BYTES_IN_MEMORY", 4 * expected.labels.numel())
    mapped.load()
    of_each = 3 if target == "head" else 4
    assert [isinstance(array, np.memmap) for array in made] == [False] * of_each + [True] * of_each
    for name in ("images", "alpha", "labels", "torso"):
        parts = [getattr(each, name) for each in (mapped, copy.deepcopy(mapped), expected)]
        assert (parts[0] is None) == (name == "torso" and target == "head")
        assert all(part is None or torch.equal(part, parts[2]) for part in parts[:2])
