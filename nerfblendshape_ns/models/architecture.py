"""The options that shape head and torso: all of the config that a checkpoint keeps, and how it is read again.

A model is rebuilt from them without executing anything in a file, which may be a stranger's.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import NoneType
from typing import Any, Dict, Literal, Mapping, Optional, Tuple, Type, Union, get_args, get_origin, get_type_hints

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.fields.head_field import Conditioning
from nerfblendshape_ns.fields.networks import Implementation
from nerfblendshape_ns.fields.torso_field import Deformation
from nerfblendshape_ns.ops.hash_grid import HashGridLayout

TOO_LARGE = 2**16
"""Numbers among the options are smaller than this, or than their own limit."""
LIMITS = {
    "num_levels": 65,
    "features_per_level": 65,
    "log2_table_size": 25,
    **dict.fromkeys(("hidden_dim", "geometry_dim", "frame_code_dim"), 1025),
    **dict.fromkeys(("density_layers", "color_layers"), 17),
    "occupancy_resolution": 1025,
}
"""A file of a stranger must not ask for all of the memory."""
LEAST = {
    **dict.fromkeys(("num_levels", "features_per_level", "log2_table_size", "base_resolution"), 1),
    **dict.fromkeys(("density_layers", "color_layers", "occupancy_resolution", "samples_per_box"), 1),
    "hidden_dim": 2,
}
"""Numbers among the options are no smaller than this, the others than 0: there is no grid of no cells."""


@dataclass
class Architecture:
    """Options that shape a model, head or torso."""

    num_levels: int = 16
    """Levels of the hash grid."""
    features_per_level: int = 4
    """Features per level."""
    log2_table_size: int = 14
    """Largest table of a level, as a power of two; coarser levels are stored densely."""
    base_resolution: int = 16
    """Cells along an axis at the coarsest level."""
    max_resolution: Optional[int] = None
    """Cells along an axis at the finest level; None takes twice the image's longer side for a head (at most 1024), once
    for a torso (at most 2048)."""
    hidden_dim: int = 64
    """Width of the networks."""
    frame_code_dim: int = 0
    """Length of the appearance code of each training frame; 0 turns it off."""
    implementation: Implementation = "torch"
    """Networks by tiny-cuda-nn where it is installed, or by torch; a checkpoint opens with what made its networks."""

    def grid(self, max_resolution: int, dimensions: int = 3) -> HashGridLayout:
        """Layout of the hash grid; ``max_resolution`` stands in for an option of None.

        Raises:
            UserError: there is no such grid.
        """
        try:
            return HashGridLayout(
                num_levels=self.num_levels,
                features_per_level=self.features_per_level,
                log2_table_size=self.log2_table_size,
                base_resolution=self.base_resolution,
                max_resolution=self.max_resolution or max_resolution,
                dimensions=dimensions,
            )
        except ValueError as error:
            raise UserError(f"the options of the model make no hash grid: {error} Change that option.") from None


@dataclass
class HeadArchitecture(Architecture):
    """Options that shape a head."""

    conditioning: Conditioning = "blend"
    """"blend" blends the tables. Baselines with one static grid: "concat" appends the coefficients to the network's
    input, "code" a learnt code per training frame, "static" nothing."""
    basis_parametrisation: Literal["named", "principal"] = "principal"
    """One table per named coefficient, or one per principal component of the training coefficients (fewer,
    uncorrelated); driven by the named coefficients either way."""
    network_expression: bool = True
    """With "blend", let the density network read what the tables are blended by, beside the blended features."""
    head_pose_scale: float = 0.3
    """Head pose conditions the field as six more coefficients, within ± this, where the widest coefficient ranges over
    1: hair swings and light changes as a head turns, and a tracker's errors follow its pose. 0 leaves it out."""
    face_parts: bool = True
    """Condition the lower face on jaw, mouth and head pose alone, the upper face on eyes, brows and head pose, so that
    what a short clip shows together can move apart. Needs "blend", a face mesh and coefficients that are named as
    ARKit's or FLAME's; without effect otherwise."""
    face_motion: bool = True
    """Move samples to canonical space by the motion of the tracked landmarks, irises among them; the tables learn what
    remains. Needs "blend", landmarks and a face mesh; without effect otherwise."""
    density_layers: int = 3
    """Layers of the density network."""
    color_layers: int = 2
    """Layers of the colour network."""
    geometry_dim: int = 15
    """Features handed from the density to the colour network."""
    occupancy_resolution: int = 128
    """Cells of the occupancy grid along an axis."""
    samples_per_box: int = 256
    """Marching steps over the head box's longest side."""
    background_color: Literal["white", "black"] = "white"
    """Background of rendered images; metrics are on white, training uses random colours."""


@dataclass
class TorsoArchitecture(Architecture):
    """Options that shape a torso."""

    num_levels: int = 8
    """Levels of the two-dimensional hash grid."""
    features_per_level: int = 2
    """Features per level."""
    log2_table_size: int = 15
    """Largest table of a level, as a power of two; coarser levels are stored densely."""
    frame_code_dim: int = 8
    """Length of the code of each training frame for what its head pose does not explain; 0 turns it off."""
    deformation: Deformation = "linear"
    """How points move: "linear" learns a skinning weight for each, the fraction of the head's motion that it follows,
    and its displacement per unit of head pose and frame code, which extrapolates to other poses; "network" is
    RAD-NeRF's network that reads both."""


def architecture_of(config: Architecture, options: Type[Architecture]) -> Dict[str, Any]:
    """The options of a model's config that a dataclass names, as plain data."""
    return {field.name: getattr(config, field.name) for field in fields(options)}


def read_architecture(saved: Mapping[str, Any], options: Type[Architecture]) -> Dict[str, Any]:
    """Options for a model's config, from a checkpoint's description.

    Args:
        saved: from :func:`architecture_of`.
        options: the dataclass that names them and their types.

    Raises:
        UserError: one of them is missing, or its value is not of its type and range.
    """
    hints = get_type_hints(options)
    for field in fields(options):
        if field.name not in saved:
            raise UserError(f"its description lacks the option {field.name}; train or export again.")
        if not _fits(saved[field.name], hints[field.name], *_range(field.name)):
            raise UserError(
                f"its description names the option {field.name} = {saved[field.name]!r}, which it cannot have; train "
                "or export again."
            )
    return {field.name: saved[field.name] for field in fields(options)}


def check_options(config: Architecture, options: Type[Architecture]) -> None:
    """Refuse before training what no checkpoint could be read with.

    Raises:
        UserError: an option of the config is out of range.
    """
    hints = get_type_hints(options)
    for field in fields(options):
        value, (least, limit) = getattr(config, field.name), _range(field.name)
        if not _fits(value, hints[field.name], least, limit):
            option = f"--pipeline.model.{field.name.replace('_', '-')}"
            raise UserError(f"{option} cannot be {value!r}; give a value from {least} to below {limit}.")


def _range(name: str) -> Tuple[int, int]:
    return LEAST.get(name, 0), LIMITS.get(name, TOO_LARGE)


def _fits(value: Any, hint: Any, least: int, limit: int) -> bool:
    if get_origin(hint) is Union:
        return any(_fits(value, choice, least, limit) for choice in get_args(hint))
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if hint is float:
        return type(value) in (int, float) and least <= value < limit
    return type(value) is hint and (hint in (bool, NoneType) or least <= value < limit)
