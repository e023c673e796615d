"""LPIPS against torchmetrics' code and published values; where its weights are looked for, and what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Mapping

import numpy as np
import pytest
import torch
import torchmetrics.functional.image.lpips as reference
from stand_in_lpips import install, random_tree
from torch import Tensor
from torchvision.models import AlexNet
from torchvision.models.vgg import cfgs, make_layers

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.model_components.metrics import lpips as module
from nerfblendshape_ns.model_components.metrics.lpips import (
    LPIPS,
    cached_lpips,
    find_lpips,
    missing_lpips,
    smallest_side,
)
from nerfblendshape_ns.model_components.metrics.lpips_weights import (
    FILES,
    FOLDER_VARIABLE,
    Backbone,
    _named_arrays,
    read_arrays,
    weights_path,
)

BACKBONES = pytest.mark.parametrize("backbone", ["alex", "vgg"])
CHANNELS: Dict[str, list] = {"alex": [64, 192, 384, 256, 256], "vgg": [64, 128, 256, 512, 512]}


def arrays_of(backbone: Backbone, channels: int = 4) -> Dict[str, np.ndarray]:
    return dict(_named_arrays(random_tree(backbone, channels), ""))


def images(height: int, width: int, seed: int = 0, count: int = 2) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def torchmetrics_lpips(monkeypatch):
    """torchmetrics' network with given weights in the place of torchvision's."""

    def layers(net: str, pretrained: bool) -> torch.nn.Module:
        with torch.device("meta"):  # Weights of their own would only be drawn to be replaced.
            return AlexNet().features if net == "alexnet" else make_layers(cfgs["D"])

    monkeypatch.setattr(reference, "_get_tv_model_features", layers)

    def build(backbone: Backbone, arrays: Mapping[str, np.ndarray], spatial: bool = False) -> Any:
        network = reference._NoTrainLpips(pretrained=False, net=backbone, pnet_rand=True, spatial=spatial)
        kernels = iter(value for name, value in arrays.items() if name.endswith("kernel") and "NetLin" not in name)
        biases = iter(value for name, value in arrays.items() if name.endswith("bias"))
        for layer in network.net.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight = torch.nn.Parameter(torch.tensor(next(kernels).transpose(3, 2, 0, 1)))
                layer.bias = torch.nn.Parameter(torch.tensor(next(biases)))
        for index, linear in enumerate(network.lins):
            weights = arrays[f"NetLinLayer_{index}/Conv_0/kernel"]
            linear.model[-1].weight = torch.nn.Parameter(torch.tensor(weights).reshape(1, -1, 1, 1))
        return network.requires_grad_(False)

    return build


@BACKBONES
@pytest.mark.parametrize("size", [(31, 31), (64, 50)])
def test_with_any_weights_it_is_torchmetrics_metric(torchmetrics_lpips, backbone, size):
    arrays = arrays_of(backbone, channels=8)
    ours, theirs = LPIPS(backbone, arrays), torchmetrics_lpips(backbone, arrays)
    first, second = images(*size, seed=1), images(*size, seed=2)
    expected = theirs(first, second, normalize=True)
    torch.testing.assert_close(ours(first, second), expected.flatten(), rtol=1e-5, atol=1e-7)
    maps = torchmetrics_lpips(backbone, arrays, spatial=True)(first, second, normalize=True)
    torch.testing.assert_close(ours.spatial(ours.layers(first, second), size), maps, rtol=1e-4, atol=1e-6)


@BACKBONES
def test_equal_pictures_are_at_distance_zero_and_the_order_does_not_matter(backbone):
    network = LPIPS(backbone, arrays_of(backbone))
    first, second = images(40, 40, seed=1), images(40, 40, seed=2)
    assert network(first, first).tolist() == [0.0, 0.0]
    torch.testing.assert_close(network(first, second), network(second, first))
    torch.testing.assert_close(network(first, second)[1:], network(first[1:], second[1:]))
    assert network.spatial(network.layers(first, second), (40, 40)).shape == (2, 1, 40, 40)


@BACKBONES
def test_gradients_reach_both_pictures_and_are_finite(backbone):
    network = LPIPS(backbone, arrays_of(backbone))
    first, second = images(40, 40, seed=1).requires_grad_(), images(40, 40, seed=2).requires_grad_()
    network(first, second).sum().backward()
    for image in (first, second):
        assert image.grad is not None and bool(image.grad.isfinite().all()) and bool((image.grad != 0).any())


def test_gradients_are_finite_where_hardly_any_channel_answers():
    """The squares of such small numbers are 0, and so is their root, whose slope is infinite there."""
    arrays = arrays_of("alex")
    arrays["AlexNet_0/Conv_0/kernel"][:], arrays["AlexNet_0/Conv_0/bias"][:] = 0.0, 1e-30
    image = images(40, 40, count=1).requires_grad_()
    LPIPS("alex", arrays)(image, images(40, 40, count=1, seed=1)).sum().backward()
    assert image.grad is not None and bool(image.grad.isfinite().all())


@BACKBONES
def test_mixed_precision_changes_nothing(backbone):
    network = LPIPS(backbone, arrays_of(backbone))
    first, second = images(40, 40, seed=1), images(40, 40, seed=2)
    expected = network(first, second)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(network(first, second), expected)
        half = network(first.half().requires_grad_(), second)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected, rtol=1e-2, atol=1e-4)


def test_it_leaves_nothing_in_parameters_and_checkpoints_but_moves_with_the_module():
    network = LPIPS("alex", arrays_of("alex"))
    assert not list(network.parameters()) and not network.state_dict()
    assert all(buffer.device.type == "meta" for buffer in network.to("meta").buffers())


@pytest.mark.parametrize(("backbone", "smallest"), [("alex", 31), ("vgg", 16)])
def test_pictures_that_are_too_small_are_told(backbone, smallest):
    network = LPIPS(backbone, arrays_of(backbone))
    assert network.smallest == smallest_side(backbone) == smallest
    assert bool(network(images(smallest, smallest), images(smallest, smallest, seed=1)).isfinite().all())
    message = (
        rf"^LPIPS \({backbone}\) needs images of at least {smallest} pixels per side, and these have 50 x "
        f"{smallest - 1}; use larger ones or another metric.$"
    )
    with pytest.raises(UserError, match=message):
        network(images(smallest - 1, 50), images(smallest - 1, 50))


def test_weights_are_read_once_and_never_fetched(monkeypatch, tmp_path):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert find_lpips("alex") is None, "nothing is cached"
    install(monkeypatch, tmp_path / "weights", ["alex"])
    network = find_lpips("alex")
    assert network is not None and network.backbone == "alex" and not network.training
    assert find_lpips("alex") is network and find_lpips("vgg") is None


def test_a_damaged_file_is_told(monkeypatch, tmp_path):
    install(monkeypatch, tmp_path)
    with (tmp_path / "alexnet.ckpt").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(UserError, match=r"alexnet.ckpt is damaged .*; run nbs-fetch-lpips to fetch it again"):
        find_lpips("alex")
    with pytest.raises(UserError, match=r"alexnet.ckpt is damaged"):
        cached_lpips("cpu")


def test_reading_draws_nothing_from_a_training_s_numbers(monkeypatch, tmp_path):
    install(monkeypatch, tmp_path)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    assert find_lpips("alex") is not None
    assert torch.equal(torch.rand(3), expected)


def test_metrics_have_the_networks_that_are_cached_and_say_once_what_is_missing(monkeypatch, tmp_path, capsys):
    module._tell_once.cache_clear()
    install(monkeypatch, tmp_path / "none", [])
    assert cached_lpips("cpu") == {} and cached_lpips("cpu") == {}
    sentence = "Without their weights, metrics leave out lpips and lpips_vgg; nbs-fetch-lpips fetches them (64 MB)."
    assert missing_lpips() == sentence and " ".join(capsys.readouterr().out.split()) == sentence
    install(monkeypatch, tmp_path / "one", ["alex"])
    assert list(cached_lpips("cpu")) == ["lpips"]
    assert "leave out lpips_vgg; nbs-fetch-lpips" in " ".join(capsys.readouterr().out.split())
    install(monkeypatch, tmp_path / "both")
    networks = cached_lpips("cpu")
    assert {name: network.backbone for name, network in networks.items()} == {"lpips": "alex", "lpips_vgg": "vgg"}
    assert missing_lpips() is None and capsys.readouterr().out == ""


# --- with the real weights ---


def real_arrays(backbone: Backbone) -> Dict[str, np.ndarray]:
    path = weights_path(backbone)
    assert path is not None
    return read_arrays(path, FILES[backbone].sha256)


@BACKBONES
def test_the_linear_layers_are_those_that_torchmetrics_ships(lpips_weights, backbone):
    arrays = real_arrays(backbone)
    shipped = torch.load(Path(reference.__file__).parent / "lpips_models" / f"{backbone}.pth", map_location="cpu")
    for layer, channels in enumerate(CHANNELS[backbone]):
        weights = torch.tensor(arrays[f"NetLinLayer_{layer}/Conv_0/kernel"]).reshape(1, channels, 1, 1)
        assert torch.equal(weights, shipped[f"lin{layer}.model.1.weight"])


@BACKBONES
def test_with_the_real_weights_it_is_torchmetrics_metric(lpips_weights, torchmetrics_lpips, backbone):
    network = find_lpips(backbone)
    assert network is not None
    first, second = images(64, 64, seed=1), images(64, 64, seed=2)
    expected = torchmetrics_lpips(backbone, real_arrays(backbone))(first, second, normalize=True)
    torch.testing.assert_close(network(first, second), expected.flatten(), rtol=1e-5, atol=1e-6)


def test_the_value_that_torchmetrics_publishes(lpips_weights):
    """Example of ``learned_perceptual_image_patch_similarity`` with ``net_type='vgg'``, torchmetrics 0.12 and later."""
    torch.manual_seed(123)
    first, second = torch.rand(10, 3, 100, 100) * 2 - 1, torch.rand(10, 3, 100, 100) * 2 - 1
    network = find_lpips("vgg")
    assert network is not None
    assert f"{float(network((first + 1) / 2, (second + 1) / 2).mean()):.4f}" == "0.3485"


def test_published_values_of_the_lpips_package(lpips_weights):
    """Of ten pairs of random pictures, numpy's seed 123."""
    np.random.seed(123)
    first, second = (torch.from_numpy(np.random.rand(10, 3, 100, 100)).float() for _ in range(2))
    network = find_lpips("vgg")
    assert network is not None
    distances = network(first, second)
    expected = "0.3497 0.3494 0.3473 0.3558 0.3437 0.3366 0.3716 0.3516 0.3472 0.3413"
    assert " ".join(f"{float(distance):.4f}" for distance in distances) == expected
    assert f"{float(distances.mean()):.4f}" == "0.3494"
