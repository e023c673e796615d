"""Head poses and camera motion."""
