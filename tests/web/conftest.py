"""Fixtures of the pages' tests."""

import sys
from pathlib import Path

# The small head and torso of the models' own tests, and what starts a browser for the viewer's.
sys.path += [str(Path(__file__).parents[1] / name) for name in ("models", "viewer")]

from made_pages import browser, open_page  # noqa: F401
