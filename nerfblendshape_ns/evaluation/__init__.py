"""Measures of a render against the truth: per image, over time, of the face, and where the error lies."""
