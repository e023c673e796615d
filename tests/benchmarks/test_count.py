"""What a training step and an image send to the device: counts that do not depend on the machine."""

from __future__ import annotations

import count as benchmark
import torch

from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset

MOST = {
    "step": {"operations": 105, "launches": 16, "synchronisations": 2},
    "image": {"operations": 42, "launches": 16, "synchronisations": 2},
    "step, poses corrected": {"operations": 107, "launches": 17, "synchronisations": 2},
    "image, poses corrected": {"operations": 43, "launches": 17, "synchronisations": 2},
}
"""As many as there are. Whoever lowers a count lowers its number here."""


def test_counts_do_not_grow(tmp_path):
    """Of the small head with all that a dataset gives; smaller images and a smaller box change no count."""
    write_dataset(ClipSettings(num_frames=10, width=64, height=64, samples=1), tmp_path / "clip")
    figures = benchmark.measure(
        tmp_path / "clip", 32, 64, occupancy_warmup=16, occupancy_resolution=32, samples_per_box=64
    )
    for name, most in MOST.items():
        for what, number in most.items():
            assert figures[name][what] <= number, (name, what, figures)
            assert figures[name][what] > 0.9 * number - 1, ("fewer: lower the number", name, what, figures)


def test_views_are_free_and_boolean_masks_wait():
    values = torch.rand(4, 4)
    with benchmark.Count() as count:
        float(values.T[0].sum())
        values[values > 2.0]
    assert (count.operations, count.launches, count.waits) == (5, 0, 2)
