"""Along the ray: crop box, early ray termination, known viewpoints."""
