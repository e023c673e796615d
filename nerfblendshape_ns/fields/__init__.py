"""Density and colour as functions of space and expression."""
