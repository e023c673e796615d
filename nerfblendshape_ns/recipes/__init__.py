"""Experiments as YAML: dataset, method, overrides and protocol, run and measured by one script."""
