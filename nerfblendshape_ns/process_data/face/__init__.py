"""The face in every frame: landmarks and expression coefficients."""
