"""Settings of the head model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, Literal, Optional, Type

from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig
from nerfstudio.models.base_model import ModelConfig

from nerfblendshape_ns.fields.head_field import Conditioning
from nerfblendshape_ns.model_components.losses import PerceptualKind


def _head_model() -> Type:
    from nerfblendshape_ns.models.head import HeadModel

    return HeadModel


@dataclass
class HeadModelConfig(ModelConfig):
    """The blended head."""

    _target: Type = field(default_factory=_head_model)
    enable_collider: bool = False
    """Rays are cut by the occupancy grid, not by fixed planes."""
    collider_params: Optional[Dict[str, float]] = None
    """Unused."""
    eval_num_rays_per_chunk: int = 16384
    """Rays rendered at once outside training."""

    num_levels: int = 16
    """Levels of the hash grid."""
    features_per_level: int = 4
    """Features a level."""
    log2_table_size: int = 14
    """Largest table of a level, as a power of two; coarser levels are stored densely."""
    base_resolution: int = 16
    """Cells along an axis at the coarsest level."""
    max_resolution: Optional[int] = None
    """Cells along an axis at the finest level; None takes twice the image's longer side, at most 1024."""
    conditioning: Conditioning = "blend"
    """"blend" blends the tables. Baselines with one static grid: "concat" appends the coefficients to the network's
    input, "code" a learnt code per training frame, "static" nothing."""
    basis_parametrisation: Literal["named", "principal"] = "principal"
    """One table a named coefficient, or one a principal direction of the training coefficients (fewer, uncorrelated);
    driven by the named coefficients either way."""
    principal_explained: float = 0.998
    """Share of the squared coefficients that the principal directions keep."""
    principal_whitening: float = 0.0
    """How far the principal directions are scaled to equal size: 0 not at all, 1 fully."""
    principal_max: int = 32
    """At most this many principal directions."""
    network_expression: bool = True
    """With "blend", let the density network read what the tables are blended by, beside the blended features."""
    head_pose_scale: float = 0.3
    """Head pose conditions the field as six more coefficients, within ± this, where the widest coefficient ranges over
    1: hair swings and light changes as a head turns, and a tracker's errors follow its pose. 0 leaves it out."""
    face_parts: bool = True
    """Let the lower face follow jaw, mouth and head pose alone, the upper face eyes, brows and head pose: what a short
    clip shows together must not move together for good. Needs "blend", a face mesh and coefficients that are named as
    ARKit's or FLAME's; without effect otherwise."""
    rest_swap: float = 0.2
    """Where the parts of the face are told apart: share of the training steps in which the rest of the head (hair
    and ears) sees the coefficients of another training frame: hair shall follow the head pose, not the gaze."""
    face_motion: bool = True
    """Carry samples to where their point of the skin rests, by the motion that the tracked landmarks show; the tables
    learn what is left. Needs "blend", landmarks and a face mesh; without effect otherwise."""
    face_motion_ridge: Optional[float] = None
    """How strongly displacements that the landmarks do not tell are kept small; the longer the clip the less. None
    takes that of a few values which predicts held-out parts of the clip best."""
    expression_region: bool = False
    """Let expressions change the face only, where the dataset has a face mesh; hair and ears follow the head pose
    alone. Off by default: on tracked clips hair and ears move, and pose errors follow the expression."""
    expression_noise: float = 0.12
    """Standard deviation of the noise on training coefficients and head pose, where the widest coefficient ranges over
    1: what a tracker's error is, and what keeps rarely used directions from being learnt as truth."""
    tables_optimizer: Literal["shared", "torch"] = "shared"
    """"shared" hands the blended gradient to BlendshapeTableAdam; "torch" gives every table its own gradient, for any
    torch optimiser."""

    hidden_dim: int = 64
    """Width of the networks."""
    density_layers: int = 3
    """Layers of the density network."""
    color_layers: int = 2
    """Layers of the colour network."""
    geometry_dim: int = 15
    """Features handed from the density to the colour network."""
    frame_code_dim: int = 0
    """Length of the per-frame appearance code; 0 turns it off."""
    density_bias: float = -1.0
    """Added to the network's density before the exponential."""
    opacity_start: float = 0.2
    """Largest optical depth of one marching step at the first training step; it grows until a step can be opaque."""
    opacity_warmup: int = 1000
    """Steps over which it grows."""
    implementation: Literal["tcnn", "torch"] = "torch"
    """Networks by tiny-cuda-nn where it is installed, or by torch; a checkpoint opens with what made its networks."""

    occupancy_resolution: int = 128
    """Cells of the occupancy grid along an axis."""
    samples_per_box: int = 256
    """Marching steps over the head box's longest side."""
    occupancy_warmup: int = 256
    """Steps before the occupancy first follows the density."""
    occupancy_interval: int = 16
    """Steps between two updates of the occupancy."""
    occupancy_settle: int = 2000
    """Steps during which the occupancy forgets fast and follows training expressions only."""
    occupancy_visits: int = 1 << 16
    """Cells that an update visits."""
    early_stop: float = 5e-3
    """Samples that less than this share of the light reaches are left out."""
    shell: bool = True
    """Keep samples near the tracked face mesh, where the dataset has one."""

    background_color: Literal["white", "black"] = "white"
    """Background of rendered and evaluated images; training uses random colours."""
    color_loss: Literal["huber", "l1", "mse"] = "mse"
    """Colour difference."""
    huber_delta: float = 0.1
    """Where the Huber loss turns linear."""
    color_loss_weight: float = 10.0
    """Weight of the colour loss."""
    mask_loss_start: float = 0.1
    """Weight of the mask loss (L1 between opacity and soft head mask) at the first step."""
    mask_loss_weight: float = 0.1
    """Weight of the mask loss after its warm-up."""
    mask_loss_warmup: int = 500
    """Steps over which the mask loss's weight falls."""
    perceptual_loss: PerceptualKind = "none"
    """Loss on patches; needs patches from the datamanager (``num_patches``)."""
    perceptual_weight: float = 0.1
    """Weight of the patch loss."""
    frame_code_loss_weight: float = 1e-3
    """Weight of the appearance codes' squared norm."""
    camera_optimizer: CameraOptimizerConfig = field(default_factory=lambda: CameraOptimizerConfig(mode="off"))
    """Photometric refinement of the training poses."""
