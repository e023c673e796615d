"""Neural networks that are not ours: their files, and running them with LiteRT."""
