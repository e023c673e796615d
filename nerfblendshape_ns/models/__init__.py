"""The nerfstudio models."""

from nerfblendshape_ns.common.safe_globals import register_checkpoint_globals

register_checkpoint_globals()
