"""One reader for each dataset layout; each turns a directory into a :class:`~.clip.Clip`.

A new layout is one module with a :class:`~.clip.Layout` and its entry in :data:`LAYOUTS`. The order of the entries is
the order of detection, so a layout that shares its marker file with another comes before the more general one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.layouts import insta, nerface, official, own, radnerf, unofficial
from nerfblendshape_ns.data.layouts.clip import Clip, ClipFrame, Layout
from nerfblendshape_ns.data.layouts.foreign import foreign_dataset

LAYOUTS: Dict[str, Layout] = {
    layout.name: layout
    for layout in (
        official.LAYOUT,
        insta.LAYOUT,
        own.LAYOUT,
        unofficial.LAYOUT,
        nerface.LAYOUT,
        radnerf.LAYOUT,
    )
}
"""The known layouts by name, in the order of detection."""

__all__ = ["LAYOUTS", "Clip", "ClipFrame", "Layout", "foreign_dataset", "is_dataset", "read_clip"]


def is_dataset(root: Path) -> bool:
    """Whether a directory is a dataset of a known layout, or of a project that is known not to be read."""
    return root.is_dir() and (
        any(layout.matches(root) for layout in LAYOUTS.values()) or foreign_dataset(root) is not None
    )


def read_clip(root: Path, layout: str = "auto") -> Clip:
    """Read a dataset directory; no image is opened beyond the first.

    Args:
        root: the dataset directory.
        layout: a name from :data:`LAYOUTS`, or ``auto`` to detect it.

    Returns:
        The clip, frames in order of ``img_id``.

    Raises:
        UserError: the directory is missing, is of no known layout, or one of its files is missing or wrong.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"{root} is not a directory; give that of a dataset, such as nbs-process-data writes.")
    if layout == "auto":
        foreign = foreign_dataset(root)
        if foreign is not None:
            raise UserError(foreign)
        for candidate in LAYOUTS.values():
            if candidate.matches(root):
                return candidate.read(root)
        looked_for = "; ".join(f"{known.name}: {known.looked_for}" for known in LAYOUTS.values())
        raise UserError(
            f"{root} is of no known dataset layout; looked for {looked_for}; run nbs-process-data on the video or "
            "give the directory that holds these files."
        )
    if layout not in LAYOUTS:
        raise UserError(f"layout {layout!r} is unknown; choose auto or one of {', '.join(LAYOUTS)}.")
    return LAYOUTS[layout].read(root)
