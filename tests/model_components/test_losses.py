"""Compositing, schedules of weights, and the patch loss."""

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torchvision.models import AlexNet_Weights

from nerfblendshape_ns.errors import UserError
from nerfblendshape_ns.model_components import losses
from nerfblendshape_ns.model_components.losses import PatchLoss, composite, warm_down


def test_composite_by_hand():
    result = composite(torch.tensor([1.0, 0.5, 0.0]), torch.tensor([0.25]), torch.tensor([0.0, 1.0, 1.0]))
    torch.testing.assert_close(result, torch.tensor([0.25, 0.875, 0.75]))


def test_warm_down():
    assert warm_down(0, 1.0, 0.1, 100) == 1.0
    assert warm_down(50, 1.0, 0.1, 100) == pytest.approx(0.55)
    assert warm_down(500, 1.0, 0.1, 100) == pytest.approx(0.1)


def test_dssim_is_zero_on_equal_patches_and_has_a_gradient():
    patches = torch.rand(2, 16, 16, 3, generator=torch.Generator().manual_seed(0))
    loss = PatchLoss("dssim")
    assert float(loss(patches, patches)) == pytest.approx(0.0, abs=1e-6)
    prediction = patches.flip(1).clone().requires_grad_()
    value = loss(prediction, patches)
    value.backward()
    assert 0.0 < float(value) <= 1.0
    assert prediction.grad is not None and bool(prediction.grad.abs().sum() > 0)


class StandIn(torch.nn.Module):
    """In place of torchmetrics' LPIPS: how far apart the means of the first channel are."""

    def __init__(self, net_type: str, normalize: bool) -> None:
        super().__init__()
        assert normalize, "images are in [0, 1]"
        self.backbone = net_type
        self.layer = torch.nn.Conv2d(3, 1, 1)

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        for images in (prediction, target):
            assert images.shape[1] == 3 and 0 <= images.min() and images.max() <= 1
        return (prediction[:, 0].mean() - target[:, 0].mean()).abs()


@pytest.fixture
def lpips(monkeypatch):
    """Replaces torchmetrics' LPIPS, whose weights would have to be fetched."""

    def replace(network: object) -> None:
        monkeypatch.setattr("torchmetrics.image.lpip.LearnedPerceptualImagePatchSimilarity", network)
        losses._alex_lpips.cache_clear()

    yield replace
    losses._alex_lpips.cache_clear()


def offline(**options: object) -> None:
    raise URLError("no network")


@pytest.mark.parametrize("kind, backbone", [("lpips-vgg", "vgg"), ("lpips-alex", "alex")])
def test_lpips_of_patches(lpips, kind, backbone):
    """Whatever lies beyond [0, 1] is clamped; gradients reach the prediction and not the network."""
    lpips(StandIn)
    loss = PatchLoss(kind)
    prediction = torch.full((2, 8, 8, 3), 0.25, requires_grad=True)
    target = torch.full((2, 8, 8, 3), 1.5)
    target[..., 1:] = -1.0
    value = loss(prediction, target)
    assert float(value) == pytest.approx(0.75)
    value.backward()
    assert prediction.grad is not None and bool((prediction.grad[..., 0] < 0).all())
    (network,) = loss._network
    assert network.backbone == backbone and not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    loss(prediction, target)
    assert loss._network == [network], "it is loaded once"


def test_the_metric_s_network_is_alexnet_loaded_once(lpips):
    lpips(StandIn)
    network = losses.cached_lpips("cpu")
    assert isinstance(network, StandIn) and network.backbone == "alex"
    assert losses.cached_lpips("cpu") is network


def test_missing_lpips_weights_are_told(lpips):
    lpips(offline)
    with pytest.raises(UserError, match=r"lpips-vgg could not be downloaded; go online once, or use 'dssim'"):
        PatchLoss("lpips-vgg")(torch.rand(1, 16, 16, 3), torch.rand(1, 16, 16, 3))
    assert losses.cached_lpips("cpu") is None


@pytest.mark.parametrize("kind, expected", [("dssim", True), ("none", False)])
def test_patches_are_the_first_rays_of_a_batch(kind, expected):
    """Two equal patches, then rays that are wrong; and nothing where a batch has no patches."""
    loss, rays = PatchLoss(kind), torch.rand(2 * 16 + 10, 3, generator=torch.Generator().manual_seed(0))
    wrong = rays.clone()
    wrong[32:] = 0.0
    value = loss.of_batch(wrong, rays, {"patch_size": 4, "num_patches": 2})
    assert (value is not None) == expected
    if value is not None:
        assert float(value) == pytest.approx(0.0, abs=1e-6)
        assert float(loss.of_batch(wrong.flip(0), rays, {"patch_size": 4, "num_patches": 2})) > 0.1  # type: ignore[arg-type]
    for batch in ({}, {"patch_size": 1, "num_patches": 2}, {"patch_size": 4, "num_patches": 0}):
        assert loss.of_batch(wrong, rays, batch) is None


def test_cached_weights_are_found_without_loading_them(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(losses, "load_lpips", None)
    assert not losses.lpips_cached()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / Path(AlexNet_Weights.IMAGENET1K_V1.url).name).touch()
    assert losses.lpips_cached()


def test_a_metric_that_is_missing_is_told_once(monkeypatch, capsys):
    losses._alex_lpips.cache_clear()
    losses._tell_missing_lpips.cache_clear()
    monkeypatch.setattr(losses, "load_lpips", lambda backbone: None)
    try:
        assert losses.cached_lpips("cpu") is None and losses.cached_lpips("cpu") is None
        said = " ".join(capsys.readouterr().out.split())
        assert said == (
            "The metrics leave LPIPS out: its weights are neither cached nor can they be downloaded; go online once."
        )
    finally:
        losses._alex_lpips.cache_clear()


def test_reading_a_network_draws_nothing_from_a_training_s_numbers(monkeypatch):
    import torchmetrics.image.lpip as lpip

    def drawn(net_type: str, normalize: bool) -> torch.nn.Module:
        return torch.nn.Linear(4, 4)

    monkeypatch.setattr(lpip, "LearnedPerceptualImagePatchSimilarity", drawn)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    assert losses.load_lpips("alex") is not None
    assert torch.equal(torch.rand(3), expected)


def test_networks_stay_out_of_checkpoints():
    loss = PatchLoss("lpips-alex")
    loss._network.append(torch.nn.Linear(2, 2))
    assert not loss.state_dict() and not list(loss.parameters())
