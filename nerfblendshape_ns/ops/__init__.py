"""Warp kernels behind torch functions; the only part of the package that knows Warp."""
