"""Losses against the torso image, by hand."""

import torch

from nerfblendshape_ns.model_components.torso.torso_losses import torso_losses


def test_what_the_head_hides_counts_less():
    """Colour: 0.2 of the error where the head is opaque, half where it is half there, all where it is not."""
    torso, head_alpha = torch.tensor([[0.5, 0.5, 0.5, 1.0]] * 3), torch.tensor([[1.0], [0.5], [0.0]])
    outputs = {"torso_alpha": torch.full((3, 1), 0.6), "torso_color": torch.full((3, 3), 0.8)}
    losses = torso_losses(outputs, torso, head_alpha, color_weight=2.0, alpha_weight=0.5)
    torch.testing.assert_close(losses["torso_color_loss"], torch.tensor(2.0 * 0.3 * (0.2 + 0.5 + 1.0) / 3))
    torch.testing.assert_close(losses["torso_alpha_loss"], torch.tensor(0.5 * 0.4))  # The image has torso everywhere.


def test_an_empty_torso_behind_the_head_is_hardly_known():
    """Opacity: 0.05 of the error where the head is opaque, half where it is half there; no colour is known."""
    torso, head_alpha = torch.zeros(2, 4), torch.tensor([[1.0], [0.5]])
    outputs = {"torso_alpha": torch.ones(2, 1), "torso_color": torch.ones(2, 3)}
    losses = torso_losses(outputs, torso, head_alpha, color_weight=1.0, alpha_weight=1.0)
    torch.testing.assert_close(losses["torso_alpha_loss"], torch.tensor((0.05 + 0.5) / 2))
    assert float(losses["torso_color_loss"]) == 0.0
    assert set(torso_losses({"torso_alpha": torch.ones(2, 1)}, torso, head_alpha, 1.0, 1.0)) == {"torso_alpha_loss"}
