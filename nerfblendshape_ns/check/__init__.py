"""``nbs-check``: what a dataset is, what is wrong with it, and what training on it will cost."""
