"""Measures of a render against the truth: per picture, over time, of the face, and where the error lies."""
