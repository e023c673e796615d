"""Along the ray: crop box, early ray termination, recorded viewpoints."""
