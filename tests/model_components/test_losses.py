"""Compositing, schedules of weights, and the patch loss."""

import pytest
import torch
from stand_in_lpips import install

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.fetching import NotFetched
from nerfblendshape_ns.model_components import losses
from nerfblendshape_ns.model_components.losses import (
    PatchLoss,
    anneal,
    composite,
    head_where_seen,
    prepare_patch_loss,
    truth_where_seen,
)
from nerfblendshape_ns.model_components.metrics.lpips import find_lpips


def test_composite_by_hand():
    result = composite(torch.tensor([1.0, 0.5, 0.0]), torch.tensor([0.25]), torch.tensor([0.0, 1.0, 1.0]))
    torch.testing.assert_close(result, torch.tensor([0.25, 0.875, 0.75]))


def test_anneal():
    assert anneal(0, 1.0, 0.1, 100) == 1.0
    assert anneal(50, 1.0, 0.1, 100) == pytest.approx(0.55)
    assert anneal(500, 1.0, 0.1, 100) == pytest.approx(0.1)


def test_dssim_is_zero_on_equal_patches_and_has_a_gradient():
    patches = torch.rand(2, 16, 16, 3, generator=torch.Generator().manual_seed(0))
    loss = PatchLoss("dssim")
    assert float(loss(patches, patches)) == pytest.approx(0.0, abs=1e-6)
    prediction = patches.flip(1).clone().requires_grad_()
    value = loss(prediction, patches)
    value.backward()
    assert 0.0 < float(value) <= 1.0
    assert prediction.grad is not None and bool(prediction.grad.abs().sum() > 0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_dssim_of_flat_patches_in_mixed_precision(dtype):
    """Bright skin varies by a few hundredths, whose squares half precision loses."""
    generator = torch.Generator().manual_seed(0)
    target = 0.9 + 0.02 * torch.randn(2, 16, 16, 3, generator=generator)
    prediction = target + 0.01 * torch.randn(2, 16, 16, 3, generator=generator)
    loss = PatchLoss("dssim")
    expected = float(loss(prediction, target))
    with torch.autocast("cpu", dtype):
        assert float(loss(prediction, target)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind, backbone", [("lpips-vgg", "vgg"), ("lpips-alex", "alex")])
def test_lpips_of_patches(monkeypatch, tmp_path, kind, backbone):
    """The mean over the patches; whatever lies beyond [0, 1] is clamped; gradients reach both."""
    install(monkeypatch, tmp_path)
    generator = torch.Generator().manual_seed(0)
    prediction = torch.rand(2, 32, 32, 3, generator=generator).requires_grad_()
    target = torch.rand(2, 32, 32, 3, generator=generator).requires_grad_()
    loss = PatchLoss(kind)
    value = loss(prediction, target)
    network = find_lpips(backbone)
    assert network is not None and loss._network == [network]
    planes = prediction.permute(0, 3, 1, 2), target.permute(0, 3, 1, 2)
    assert float(value) == pytest.approx(float(network(*planes).mean()), rel=1e-5)
    value.backward()
    for image in (prediction, target):
        assert image.grad is not None and bool(image.grad.isfinite().all()) and bool((image.grad[1] != 0).any())
    far = torch.full_like(target, 1.5)
    assert float(loss(prediction, far)) == pytest.approx(float(loss(prediction, torch.ones_like(far))))


@pytest.mark.parametrize("kind", ["lpips-vgg", "lpips-alex"])
def test_missing_lpips_weights_are_told(kind):
    message = (
        f"^the weights of --pipeline.model.perceptual-loss {kind} are not cached; run nbs-fetch-lpips once, or use "
        "'dssim', which needs none.$"
    )
    with pytest.raises(UserError, match=message):
        PatchLoss(kind)(torch.rand(1, 32, 32, 3), torch.rand(1, 32, 32, 3))


@pytest.mark.parametrize("kind, backbone", [("lpips-vgg", "vgg"), ("lpips-alex", "alex")])
def test_only_the_weights_that_are_needed_are_fetched_before_training(monkeypatch, kind, backbone):
    asked = []
    monkeypatch.setattr(losses, "fetch_weights", asked.append)
    prepare_patch_loss(kind, 32)
    assert asked == [[backbone]]


@pytest.mark.parametrize("kind", ["none", "dssim"])
def test_losses_without_weights_fetch_nothing(monkeypatch, kind):
    monkeypatch.setattr(losses, "fetch_weights", None)
    prepare_patch_loss(kind, 4)


def test_weights_that_cannot_be_fetched_are_told(monkeypatch):
    def offline(_: object) -> None:
        raise NotFetched("the index is far away")

    monkeypatch.setattr(losses, "fetch_weights", offline)
    with pytest.raises(UserError) as raised:
        prepare_patch_loss("lpips-vgg", 32)
    assert str(raised.value) == (
        "the weights of --pipeline.model.perceptual-loss lpips-vgg could not be fetched: the index is far away; "
        "nbs-fetch-lpips tries again, or use 'dssim', which needs none."
    )


@pytest.mark.parametrize("kind, smallest", [("lpips-vgg", 16), ("lpips-alex", 31)])
def test_patches_that_the_network_cannot_take_are_told_before_training(monkeypatch, kind, smallest):
    monkeypatch.setattr(losses, "fetch_weights", lambda _: None)
    prepare_patch_loss(kind, smallest)
    message = (
        f"^--pipeline.model.perceptual-loss {kind} needs patches of at least {smallest} pixels per side; set "
        f"--pipeline.datamanager.patch-size higher than {smallest - 1}, or use 'dssim', which takes any size.$"
    )
    with pytest.raises(UserError, match=message):
        prepare_patch_loss(kind, smallest - 1)


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


def test_networks_stay_out_of_checkpoints(monkeypatch, tmp_path):
    install(monkeypatch, tmp_path)
    loss = PatchLoss("lpips-alex")
    loss(torch.rand(1, 32, 32, 3), torch.rand(1, 32, 32, 3))
    assert loss._network and not loss.state_dict() and not list(loss.parameters()) and not list(loss.buffers())


def test_what_is_before_the_face_has_neither_loss_nor_gradient():
    truth, labels = torch.zeros(4, 3), torch.tensor([[1], [4], [0], [4]], dtype=torch.uint8)
    prediction = torch.full((4, 3), 0.5, requires_grad=True)
    known = truth_where_seen(truth, prediction, {"labels": labels})
    assert known.tolist() == [[0.0] * 3, [0.5] * 3, [0.0] * 3, [0.5] * 3]
    ((prediction - known) ** 2).sum().backward()
    assert prediction.grad is not None and prediction.grad[:, 0].tolist() == [1.0, 0.0, 1.0, 0.0]
    assert truth_where_seen(truth, prediction, {}) is truth


def test_the_head_where_it_is_seen():
    batch = {
        "alpha": torch.tensor([[[0.9], [0.9], [0.4]]]),
        "labels": torch.tensor([[[1], [4], [4]]], dtype=torch.uint8),
    }
    assert head_where_seen(batch).tolist() == [[True, False, False]]
    assert head_where_seen({"alpha": batch["alpha"]}).tolist() == [[True, True, False]]
