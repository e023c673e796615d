"""Settings of the torso model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Literal, Optional, Type

from nerfstudio.models.base_model import ModelConfig

from nerfblendshape_ns.fields.torso_field import Deformation
from nerfblendshape_ns.model_components.losses import ColorKind, PerceptualKind


def _torso_model() -> Type:
    from nerfblendshape_ns.models.torso import TorsoModel

    return TorsoModel


@dataclass
class TorsoModelConfig(ModelConfig):
    """The torso behind a trained, frozen head."""

    _target: Type = field(default_factory=_torso_model)
    head_run: Optional[Path] = None
    """Directory, config.yml or checkpoint of the head's run. Read once, when training starts: from then on the torso's
    own checkpoints hold the head."""
    enable_collider: bool = False
    """Rays meet a plane, not a volume between two."""
    collider_params: Optional[Dict[str, float]] = None
    """Unused."""
    eval_num_rays_per_chunk: int = 16384
    """Rays rendered at once outside training."""
    head_pixels_mb: int = 2048
    """Memory for what the frozen head shows at the training frames' pixels, so that training renders none of them
    twice: as many frames as fit are kept, with 0 none. The pictures are the same either way."""
    background: str = "plate"
    """What is behind the person: "plate" is the dataset's clean plate (white where it has none), else the name or hex
    code of a colour, or the path of an image."""

    num_levels: int = 8
    """Levels of the two-dimensional hash grid."""
    features_per_level: int = 2
    """Features a level."""
    log2_table_size: int = 15
    """Largest table of a level, as a power of two."""
    base_resolution: int = 16
    """Cells along an axis at the coarsest level."""
    max_resolution: Optional[int] = None
    """Cells along an axis at the finest level; None takes the image's longer side, at most 2048."""
    hidden_dim: int = 64
    """Width of the networks."""
    position_frequencies: int = 4
    """Frequencies of the torso coordinate in the deformation."""
    deformation: Deformation = "linear"
    """How a point's own shift follows head pose and frame code: "linear" learns its displacement per unit of each,
    which goes on in poses that training does not show; "network" is RAD-NeRF's network that reads them."""
    pose_frequencies: int = 2
    """Frequencies of the head pose, with the deformation "network"."""
    frame_code_dim: int = 8
    """Length of the code that every training frame owns for what the head's pose does not tell; 0 turns it off."""
    frame_code_dropout: float = 0.5
    """Share of the training steps that use the mean of the codes instead of the frame's own: what head pose can tell
    shall be learnt from it, since no other frame has a code."""
    head_aware: bool = False
    """Let the torso also see the head's colour and opacity at a pixel."""
    carried: bool = True
    """Let the head carry what is near it: each point of the torso learns a share of the head's motion, the same in
    every pose."""
    implementation: Literal["tcnn", "torch"] = "torch"
    """Networks by tiny-cuda-nn where it is installed, or by torch; a checkpoint opens with what made its networks."""
    occupancy_interval: int = 64
    """Steps between updates of the torso's occupancy."""
    occupancy_warmup: int = 512
    """Steps before the first."""

    color_loss: ColorKind = "mse"
    """Colour difference of the whole picture."""
    huber_delta: float = 0.1
    """Where the Huber loss turns linear."""
    color_loss_weight: float = 10.0
    """Weight of the whole picture's colour loss."""
    torso_color_weight: float = 1.0
    """Weight of the torso's own colour loss, against the torso image."""
    hidden_color_weight: float = 0.2
    """Share of the torso's colour loss where the head hides the torso: what the torso image has there is made up, and
    shall give way to what other frames show of the same place."""
    torso_alpha_weight: float = 0.5
    """Weight of the torso's opacity loss, against the torso image's alpha."""
    hidden_alpha_weight: float = 0.05
    """Share of the opacity loss where the head hides the torso and the torso image is empty."""
    perceptual_loss: PerceptualKind = "none"
    """Loss on patches; needs patches from the datamanager (``num_patches``)."""
    perceptual_weight: float = 0.1
    """Weight of the patch loss."""
    frame_code_loss_weight: float = 1e-2
    """Weight of the frame codes' squared norm."""
