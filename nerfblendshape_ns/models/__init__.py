"""The nerfstudio models."""
