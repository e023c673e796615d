"""Trained runs and exported files as avatars: the one door through which drivers, sweeps and viewers open them."""
