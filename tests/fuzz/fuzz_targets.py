"""Every reader of files and packets that may come from strangers, as a function of bytes.

A target takes an empty folder and gives valid inputs, and a function that reads any bytes in their place. That function
may raise ``UserError``; whatever else it raises is a defect.
"""

from __future__ import annotations

from typing import Dict

from fuzz_reading import Target  # isort: skip  # It finds the modules that the others need.
from fuzz_datasets import DATASETS, SLOW_DATASETS
from fuzz_expressions import EXPRESSIONS
from fuzz_models import MODELS, SLOW_MODELS

TARGETS: Dict[str, Target] = {**DATASETS, **EXPRESSIONS, **MODELS}
"""Readers of bytes, by name."""
SLOW_TARGETS: Dict[str, Target] = {**SLOW_DATASETS, **SLOW_MODELS}
"""Those that decode a video, go through a dataset's pixels or build a model."""
