"""Frames of rare expressions are drawn more often."""

import torch

from nerfblendshape_ns.data import frame_balance
from nerfblendshape_ns.data.frame_balance import LEAST, MOST, balanced_order, frame_weights

NAMES = ["eyeBlinkLeft", "browInnerUp", "jawOpen", "mouthPucker"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clip() -> torch.Tensor:
    """A hundred frames: eyes move all the time, the mouth is open in the last four."""
    torch.manual_seed(0)
    expressions = torch.rand(100, 4)
    expressions[:, 2:] = 0.02 * torch.rand(100, 2)
    expressions[96:, 2] = 0.8
    return expressions


def test_an_open_mouth_is_rare_whatever_the_eyes_do():
    weights = frame_weights(clip(), NAMES, 0.7)
    assert weights[96:].min() > 2.5 * weights[:96].max()
    assert LEAST <= weights.min() and weights.max() <= MOST
    # Without names all coefficients count as one group.
    unnamed = frame_weights(clip(), ["a", "b", "c", "d"], 0.7)
    assert unnamed[96:].min() > unnamed[:96].median()


def test_many_eye_coefficients_do_not_hide_the_mouth():
    names = [
        "eyeBlinkLeft",
        "eyeBlinkRight",
        "eyeLookInLeft",
        "eyeLookOutLeft",
        "browInnerUp",
        "eyeWideLeft",
        *NAMES[2:],
    ]
    torch.manual_seed(0)
    expressions = torch.cat([torch.rand(100, 6), clip()[:, 2:]], dim=1)
    weights = frame_weights(expressions, names, 0.7)
    assert weights[96:].min() > 2.5 * weights[:96].max()


def test_strength():
    assert torch.equal(frame_weights(clip(), NAMES, 0.0), torch.ones(100))
    weak, strong = (frame_weights(clip(), NAMES, strength)[97] for strength in (0.3, 0.7))
    assert 1 < weak < strong


def test_faces_that_do_not_move():
    assert torch.equal(frame_weights(torch.zeros(5, 4), NAMES, 0.7), torch.ones(5))
    assert torch.equal(frame_weights(torch.zeros(1, 4), NAMES, 0.7), torch.ones(1))


def test_a_long_clip_is_compared_with_part_of_itself():
    torch.manual_seed(0)
    expressions = 0.02 * torch.rand(5000, 4)
    expressions[::50, 2] = 0.8
    weights = frame_weights(expressions, NAMES, 0.5)
    assert weights[::50].min() > 2 * weights[1::50].max()


def test_the_distances_of_few_frames_are_in_memory_at_a_time(monkeypatch):
    whole, sizes, distances = frame_weights(clip(), NAMES, 0.7), [], torch.cdist
    monkeypatch.setattr(frame_balance, "FRAMES_AT_ONCE", 7)
    monkeypatch.setattr(torch, "cdist", lambda one, other: sizes.append(len(one)) or distances(one, other))
    torch.testing.assert_close(frame_weights(clip(), NAMES, 0.7), whole)
    assert max(sizes) == 7


def test_equal_weights_give_every_frame_once():
    order = balanced_order(torch.full((37,), 0.7), generator())
    assert sorted(order) == list(range(37)) and order != list(range(37))


def test_draws_follow_the_weights():
    weights = torch.tensor([1.0, 1.0, 1.0, 5.0])  # Of four draws: a half each, and two and a half.
    orders = [balanced_order(weights, generator(seed)) for seed in range(400)]
    counts = torch.stack([torch.bincount(torch.tensor(order), minlength=4) for order in orders]).float()
    assert (counts.sum(1) == 4).all()
    assert counts[:, :3].max() <= 1 and set(counts[:, 3].tolist()) == {2.0, 3.0}
    torch.testing.assert_close(counts.mean(0), torch.tensor([0.5, 0.5, 0.5, 2.5]), atol=0.1, rtol=0)
