"""Lets these tests use the short runs of ``tiny_runs`` also where they run alone."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
