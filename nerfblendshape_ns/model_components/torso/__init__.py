"""Parts of the torso model."""
