"""Lets these tests use the short runs of ``tiny_runs`` and the small models also where they run alone."""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path += [str(TESTS), str(TESTS / "models")]
