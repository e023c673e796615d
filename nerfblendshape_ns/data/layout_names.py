"""What users may ask for as a layout; apart from the readers, for which ``--help`` need not wait."""

from typing import Literal

LayoutName = Literal["auto", "official", "insta", "own", "unofficial", "nerface", "radnerf"]
"""A key of :data:`nerfblendshape_ns.data.layouts.LAYOUTS`, or ``auto`` to detect it."""
