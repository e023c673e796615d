"""Compositing, schedules of weights, and the patch loss."""

import pytest
import torch

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


def test_missing_lpips_weights_are_told(monkeypatch):
    monkeypatch.setattr(losses, "load_lpips", lambda backbone: None)
    with pytest.raises(UserError, match=r"lpips-vgg could not be downloaded; go online once, or use 'dssim'"):
        PatchLoss("lpips-vgg")(torch.rand(1, 16, 16, 3), torch.rand(1, 16, 16, 3))


def test_a_metric_that_is_missing_is_told_once(monkeypatch, capsys):
    losses._alex_lpips.cache_clear()
    losses._tell_missing_lpips.cache_clear()
    monkeypatch.setattr(losses, "load_lpips", lambda backbone: None)
    try:
        assert not losses.lpips_available() and capsys.readouterr().out == ""
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
