"""Pixels of a frozen head are rendered once."""

import pytest
import torch

from nerfblendshape_ns.model_components.torso.frozen_head_cache import CHANNELS, FrozenHeadCache

HEIGHT, WIDTH = 3, 4


class Renderer:
    """Gives each ray a value of its own and remembers which it was asked for."""

    def __init__(self) -> None:
        self.asked: list = []

    def __call__(self, chosen: torch.Tensor) -> torch.Tensor:
        self.asked.append(chosen.tolist())
        return (10.0 * len(self.asked) + chosen[:, None]).expand(-1, CHANNELS)


def make(megabytes: float = 1.0) -> FrozenHeadCache:
    return FrozenHeadCache(2, HEIGHT, WIDTH, megabytes)


def middles(*pixels: tuple) -> torch.Tensor:
    """Coordinates of the middles of pixels, given as column and row."""
    return (torch.tensor(pixels) + 0.5) / torch.tensor([WIDTH, HEIGHT])


def test_only_pixels_that_are_new_are_rendered():
    pixels, render = make(), Renderer()
    places, frames = middles((0, 0), (3, 2), (1, 2)), torch.tensor([0, 0, 1])
    first = pixels.values_of(places, frames, render)
    assert first[:, 0].tolist() == [10.0, 11.0, 12.0]
    # The same pixel of another frame is another one, and so is another pixel of the same frame.
    both = pixels.values_of(middles((3, 2), (0, 0), (0, 0), (2, 0)), torch.tensor([0, 1, 0, 0]), render)
    assert render.asked == [[0, 1, 2], [1, 3]]
    assert both[:, 0].tolist() == [11.0, 21.0, 10.0, 23.0]
    pixels.values_of(places, frames, render)
    assert len(render.asked) == 2


def test_every_pixel_of_every_frame_has_its_own_place():
    pixels, render = make(), Renderer()
    columns, rows = torch.meshgrid(torch.arange(WIDTH), torch.arange(HEIGHT), indexing="xy")
    places = middles(*torch.stack([columns.flatten(), rows.flatten()], -1).tolist()).repeat(2, 1)
    frames = torch.arange(2).repeat_interleave(HEIGHT * WIDTH)
    values = pixels.values_of(places, frames, render)
    assert torch.equal(values[:, 0], 10.0 + torch.arange(2 * HEIGHT * WIDTH))
    assert len(pixels.stored) == 2 * HEIGHT * WIDTH and bool(pixels.stored.all())


@pytest.mark.parametrize("change", [(0.1, 0.0), (0.0, -0.1), (-1.0, 0.0), (0.0, 3.0)])
def test_rays_beside_the_middle_of_a_pixel_are_rendered_anew(change):
    pixels, render = make(), Renderer()
    places = middles((0, 0), (3, 2))
    places[0] += torch.tensor(change) / torch.tensor([WIDTH, HEIGHT])
    for _ in range(2):
        pixels.values_of(places, torch.tensor([0, 1]), render)
    assert render.asked == [[0, 1], [0, 1]]


def test_as_many_frames_as_fit_are_kept():
    """Of three frames; a ray of one that is not kept is rendered every time, beside others that are known."""
    of_one = HEIGHT * WIDTH * (4 * CHANNELS + 1) / 2**20
    for megabytes, kept in ((3 * of_one, 3), (2.99 * of_one, 2), (1.5 * of_one, 1), (0.99 * of_one, 0), (0.0, 0)):
        pixels, render = FrozenHeadCache(3, HEIGHT, WIDTH, megabytes), Renderer()
        assert pixels.kept == kept
        places, frames = middles((0, 0), (3, 2), (3, 2)), torch.tensor([2, 0, 1])
        first = pixels.values_of(places, frames, render)
        assert first[:, 0].tolist() == [10.0, 11.0, 12.0]
        again = pixels.values_of(places, frames, render)
        missing = [ray for ray, frame in enumerate(frames.tolist()) if frame >= kept]
        assert render.asked[1:] == ([missing] if missing else [])
        expected = [20.0 + ray if ray in missing else 10.0 + ray for ray in range(3)]
        assert again[:, 0].tolist() == expected
        assert len(pixels.stored) == kept * HEIGHT * WIDTH
