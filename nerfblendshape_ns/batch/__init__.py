"""Many clips, each from its video to an avatar by a recipe, on one machine or, with Dask, on several."""
