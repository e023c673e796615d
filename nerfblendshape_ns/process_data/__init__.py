"""Data preparation: a talking-head video becomes a dataset directory (``nbs-process-data``)."""
