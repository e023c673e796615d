"""The steps of data preparation and the record of those that are done."""
