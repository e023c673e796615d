"""The report of data preparation."""
