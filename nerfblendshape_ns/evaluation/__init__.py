"""Measuring a trained run: its frames beside the truth, what is measured of them, tables and the report."""
