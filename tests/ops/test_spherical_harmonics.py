"""Spherical harmonics: nerfstudio's values, for each sample of its ray."""

import torch
from nerfstudio.utils.math import components_from_spherical_harmonics

from nerfblendshape_ns.ops.spherical_harmonics import spherical_harmonics


def test_samples_have_nerfstudio_s_values_of_their_ray():
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(30, 3, generator=generator), dim=1)
    rays = torch.randint(30, (3000,), generator=generator)
    expected = components_from_spherical_harmonics(4, directions)[rays]
    torch.testing.assert_close(spherical_harmonics(directions, rays), expected, rtol=0, atol=1e-6)
    assert spherical_harmonics(directions, rays[:0]).shape == (0, 16)
    assert torch.equal(spherical_harmonics(directions)[rays], spherical_harmonics(directions, rays))
