"""Reading a dataset with all its errors instead of the first."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional, Tuple

from nerfblendshape_ns.check.findings import Finding, from_errors
from nerfblendshape_ns.data.layouts import Clip, read_clip
from nerfblendshape_ns.errors import UserError, collect_user_errors


def read_with_errors(root: Path, layout: str = "auto") -> Tuple[Optional[Clip], List[Finding]]:
    """Read a dataset directory of any known layout.

    Returns:
        The clip, NaN or 0 standing in for what is wrong, or None where a reader could not go on; and the errors.
    """
    clip: Optional[Clip] = None
    with collect_user_errors() as errors:
        try:
            clip = read_clip(root, layout)
        except UserError as error:
            errors.append(error)
    return clip, from_errors(errors, "layout")
