"""A clip's materials (hair, skin, earrings, clothes, background): their colours, and their places relative to the face.

A single frame does not distinguish a dark collar from dark hair. The clip does: hair hangs down from the head, clothes
come up from the bottom, and both keep their position and colour. The model is fitted to a sample of frames by a few
rounds of expectation maximisation (label with the model, refit the model to the labels), starting from the face
landmarks. Each frame is then labelled by the clip's model and its own evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Tuple

import cv2
import numpy as np
from scipy.special import softmax

from nerfblendshape_ns.process_data.labels.colour_models import ColourModel
from nerfblendshape_ns.process_data.labels.face_layout import FaceGeometry
from nerfblendshape_ns.process_data.labels.material_priors import (
    Material,
    below_ear,
    geometric_scores,
    hanging_support,
    not_hanging,
    standing_support,
)

REFITTED = tuple(material for material in Material if material != Material.EARRING)
"""Materials whose colours are refitted."""
MAP_SCALE = 64
"""Pixels of the canonical maps per canonical unit (a face height)."""
MAP_LEFT, MAP_TOP, MAP_WIDTH, MAP_HEIGHT = -2.0, -1.5, 4.0, 5.0
"""Extent of the canonical maps, in canonical units."""
ROUNDS = 3
"""Rounds of labelling and refitting."""


@dataclass
class SampleFrame:
    """One frame as the model sees it, at working size."""

    bins: np.ndarray
    """int32 ``[height, width]`` from :func:`~.colour_models.colour_bins`."""
    person: np.ndarray
    """float32 ``[height, width]``, probability that a pixel belongs to a person."""
    geometry: FaceGeometry
    """That of the landmarks."""


class ClipModel:
    """Colours and positions of a clip's materials.

    Args:
        samples: frames spread over the clip.
    """

    def __init__(self, samples: List[SampleFrame]) -> None:
        self._colour_log = self._initial_colours(samples)
        self._position_log = np.zeros((len(Material), *_map_size()), dtype=np.float32)
        for index in range(ROUNDS):
            # The first labels use no positions: fit only these to them, or a collar's colours would enter hair.
            self._refit(samples, keep_colours=index == 0)

    def material_scores(self, sample: SampleFrame) -> np.ndarray:
        """Unnormalised log posterior of each material at each pixel.

        Args:
            sample: one frame.

        Returns:
            float32 ``[6, height, width]`` in the order of :class:`Material`.
        """
        geometry = sample.geometry
        # Colour evidence is bounded, below by the uniform density and above here, so that a colour that is very common
        # in one material (a plain wall) cannot outvote everything else where another material has it too.
        colours = np.minimum(self._colour_log[:, sample.bins], 3.0)
        scores = colours + _sample_maps(self._position_log, geometry) + geometric_scores(geometry)
        person = np.clip(sample.person, 0.02, 0.98)
        scores[Material.BACKGROUND] += 1.5 * np.log(1 - person)
        # The network does not know earrings.
        scores[Material.HAIR : Material.EARRING] += 1.5 * np.log(person)
        scores[Material.FACE][geometry.oval] = 30.0
        support = hanging_support(softmax(scores, axis=0)[Material.HAIR], geometry)
        scores[Material.HAIR] += 1.5 * np.log(support + 0.02)
        return scores

    def label_probabilities(self, sample: SampleFrame) -> np.ndarray:
        """Posterior of background, head, neck and torso: float32 ``[4, height, width]``, summing to 1."""
        background, hair, face, neck, cloth, earring = softmax(self.material_scores(sample), axis=0)
        return np.stack([background, hair + face + earring, neck, cloth])

    def _initial_colours(self, samples: List[SampleFrame]) -> np.ndarray:
        models = [ColourModel() for _ in Material]
        for sample in samples:
            layout = sample.geometry
            surely = _surely_person(sample)
            seeds = {
                Material.HAIR: (cv2.erode(surely.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0) & (layout.y < -0.25),
                Material.FACE: layout.plain_skin,
                Material.NECK: surely & (layout.across_neck < 0.2) & (np.abs(layout.below_jaw - 0.12) < 0.08),
            }
            for material, seed in seeds.items():
                models[material].add(sample.bins, seed.astype(np.float64))
        # Under the chin may be a collar as well as the neck: only shades of the face's skin are the neck's.
        self._skin_shades = models[Material.FACE].shades()
        models[Material.NECK].restrict(self._skin_shades)
        for sample in samples:
            models[Material.NECK].add(sample.bins, 0.2 * sample.geometry.plain_skin)
        colour_log = np.stack([model.log_density() for model in models])
        skin = colour_log[[Material.FACE, Material.NECK]].max(0)
        # The network does not know every pigtail or earring for a person's: what hangs from the head in the colour of
        # its hair, and what is below an ear, teach neither the background's colours nor the clothes'.
        hair_colours = colour_log[Material.HAIR] > np.maximum(skin, 0)
        self._not_hanging = [not_hanging(hair_colours[sample.bins], sample.geometry) for sample in samples]
        for sample, elsewhere in zip(samples, self._not_hanging):
            layout = sample.geometry
            # Clothes: far below the face, or below it in colours that skin does not have.
            low = (layout.y > layout.chin + 0.5) | ((layout.below_jaw > 0.1) & (skin[sample.bins] < 0))
            models[Material.CLOTH].add(sample.bins, _surely_person(sample) & elsewhere & low)
            models[Material.BACKGROUND].add(sample.bins, (sample.person < 0.1) & elsewhere)
        for material in (Material.CLOTH, Material.BACKGROUND):
            colour_log[material] = models[material].log_density()
        known = np.delete(colour_log, Material.EARRING, axis=0).max(0)
        unknown = (known < 0) & (self._skin_shades < 0.05)
        for sample in samples:
            models[Material.EARRING].add(sample.bins, below_ear(sample.geometry) & unknown[sample.bins])
        colour_log[Material.EARRING] = models[Material.EARRING].log_density()
        return colour_log

    def _refit(self, samples: List[SampleFrame], keep_colours: bool) -> None:
        models = [ColourModel() for _ in Material]
        total = np.zeros((len(Material), *_map_size()), dtype=np.float32)
        seen = np.zeros(_map_size(), dtype=np.float32)
        for sample, elsewhere in zip(samples, self._not_hanging):
            layout = sample.geometry
            posterior = softmax(self.material_scores(sample), axis=0)
            weights = posterior.copy()
            # Skin is learned where it cannot be anything else; shadowed hair next to the neck must not become skin.
            weights[Material.FACE] *= layout.plain_skin
            weights[Material.NECK] *= (layout.across_neck < 0.3) * self._skin_shades[sample.bins]
            weights[Material.HAIR : Material.EARRING] *= sample.person > 0.5
            weights[Material.BACKGROUND] *= (sample.person < 0.5) & elsewhere
            # The side of a turned neck is no garment.
            bare = (self._skin_shades[sample.bins] > 0.5) & (layout.y < layout.chin + 0.3)
            weights[Material.CLOTH] *= elsewhere & ~bare
            for material in REFITTED:
                models[material].add(sample.bins, weights[material])
            models[Material.NECK].add(sample.bins, 0.1 * layout.plain_skin)
            warped, valid = _to_map(posterior, layout)
            total += warped
            seen += valid
        if not keep_colours:
            # Earrings keep the colours that nothing else has at the start.
            for material in REFITTED:
                self._colour_log[material] = models[material].log_density()
        self._position_log = _position_scores(total, seen)


def _surely_person(sample: SampleFrame) -> np.ndarray:
    """Where a person is seen outside the face: bool ``[height, width]``."""
    return (sample.person > 0.8) & ~sample.geometry.oval


def _position_scores(total: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Log prior of each material over the canonical maps, from its mean posterior over the sample.

    Args:
        total: ``[6, rows, columns]`` sums of posteriors.
        seen: ``[rows, columns]`` how many frames cover a position.
    """
    kernel = 0.03 * MAP_SCALE
    known = cv2.GaussianBlur(seen, (0, 0), kernel)
    # One pseudo-frame of ignorance, so that positions seen once or never stay undecided.
    flat = 1.0 / len(Material)
    mean = np.stack([(cv2.GaussianBlur(layer, (0, 0), kernel) + flat) / (known + 1.0) for layer in total])
    scores = np.log(mean + 0.03)
    scores[Material.CLOTH] += 0.7 * np.log(standing_support(mean[Material.CLOTH], MAP_SCALE) + 0.02)
    if (total[Material.CLOTH] * (seen > 0)).sum() < 0.0005 * seen.sum():
        scores[Material.CLOTH] = -12.0
    return np.ascontiguousarray(scores, dtype=np.float32)


def _map_size() -> Tuple[int, int]:
    return int(MAP_HEIGHT * MAP_SCALE), int(MAP_WIDTH * MAP_SCALE)


def _map_affine(layout: FaceGeometry) -> np.ndarray:
    """``[2, 3]`` affine from working pixels to pixels of the canonical maps."""
    rows = [
        [
            (axis[0, 1] - axis[0, 0]) * MAP_SCALE,
            (axis[1, 0] - axis[0, 0]) * MAP_SCALE,
            (axis[0, 0] - low) * MAP_SCALE - 0.5,
        ]
        for axis, low in ((layout.x, MAP_LEFT), (layout.y, MAP_TOP))
    ]
    return np.array(rows, dtype=np.float64)


def _to_map(layers: np.ndarray, layout: FaceGeometry) -> Tuple[np.ndarray, np.ndarray]:
    """Layers ``[k, height, width]`` of a frame warped into the canonical maps, and a mask of what the frame covers."""
    affine = _map_affine(layout)
    size = _map_size()[::-1]
    warped = [cv2.warpAffine(layer, affine, size, flags=cv2.INTER_LINEAR) for layer in layers]
    return np.stack(warped), cv2.warpAffine(np.ones_like(layers[0]), affine, size, flags=cv2.INTER_LINEAR)


def _sample_maps(maps: np.ndarray, layout: FaceGeometry) -> np.ndarray:
    """Values of canonical maps ``[k, rows, columns]`` at every pixel of a frame; outside, those of their edge."""
    affine, size, flags = _map_affine(layout), layout.x.shape[::-1], cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.stack(
        [cv2.warpAffine(layer, affine, size, flags=flags, borderMode=cv2.BORDER_REPLICATE) for layer in maps]
    )
