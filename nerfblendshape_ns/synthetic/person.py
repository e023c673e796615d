"""Proportions and colours of the person that a seed stands for."""

from __future__ import annotations

from typing import Any, Tuple

import numpy as np
import warp as wp

from nerfblendshape_ns.synthetic.sculpt import Proportions
from nerfblendshape_ns.synthetic.shading import Appearance


def proportions_and_appearance(seed: int) -> Tuple[Proportions, Any]:
    """:class:`Proportions` and ``Appearance`` (a Warp structure) of a person; seed 0 is the average person."""
    generator = np.random.default_rng([seed, 0])
    spread = 0.0 if seed == 0 else 1.0

    def vary(middle: float, range_: float) -> float:
        return middle + spread * float(generator.uniform(-range_, range_))

    shape = Proportions(
        width=vary(1.0, 0.04),
        nose_length=vary(1.0, 0.10),
        jaw_width=vary(1.0, 0.05),
        lip_fullness=vary(1.0, 0.15),
        hair_length=vary(0.0, 1.0) if seed else 0.0,
        hair_volume=vary(1.0, 0.4),
    )
    skins = np.array([(0.60, 0.37, 0.27), (0.68, 0.45, 0.34), (0.44, 0.25, 0.16), (0.30, 0.16, 0.10)])
    lips = np.array([(0.42, 0.15, 0.13), (0.48, 0.17, 0.15), (0.29, 0.11, 0.09), (0.20, 0.075, 0.065)])
    hairs = np.array([(0.055, 0.032, 0.020), (0.14, 0.075, 0.035), (0.016, 0.013, 0.012), (0.25, 0.16, 0.075)])
    irises = np.array([(0.06, 0.10, 0.14), (0.09, 0.045, 0.018), (0.06, 0.09, 0.04), (0.035, 0.018, 0.009)])
    cloths = np.array([(0.035, 0.07, 0.15), (0.22, 0.035, 0.04), (0.05, 0.12, 0.07), (0.12, 0.11, 0.10)])
    skin_index = 0 if seed == 0 else int(generator.integers(len(skins)))
    picks = [0, 0, 0] if seed == 0 else [int(value) for value in generator.integers(4, size=3)]
    appearance = Appearance()
    appearance.skin, appearance.lips = wp.vec3(*skins[skin_index]), wp.vec3(*lips[skin_index])
    appearance.hair, appearance.iris = wp.vec3(*hairs[picks[0]]), wp.vec3(*irises[picks[1]])
    appearance.cloth = wp.vec3(*cloths[picks[2]])
    appearance.cloth_second = wp.vec3(*(0.5 * cloths[picks[2]] + 0.5 * np.array([0.55, 0.52, 0.46])))
    key, fill = np.array([-0.45, 0.55, 0.85]), np.array([0.8, 0.1, 0.55])
    appearance.key_direction = wp.vec3(*(key / np.linalg.norm(key)))
    appearance.fill_direction = wp.vec3(*(fill / np.linalg.norm(fill)))
    appearance.texture_seed = wp.uint32(1000 + 97 * (seed % 1_000_000))
    return shape, appearance
