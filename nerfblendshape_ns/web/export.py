"""Writes an avatar as one HTML page."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Sequence

from nerfblendshape_ns import __version__
from nerfblendshape_ns.avatar.avatar import Avatar
from nerfblendshape_ns.avatar.avatar_file import Provenance
from nerfblendshape_ns.common.errors import printable
from nerfblendshape_ns.common.file_io import save_text
from nerfblendshape_ns.web.assembly import assemble
from nerfblendshape_ns.web.content import page_content
from nerfblendshape_ns.web.packing import pack


def export_page(
    avatar: Avatar,
    path: Path,
    provenance: Provenance,
    keep_track: bool = False,
    keep_background: bool = True,
    origins: Sequence[str] = (),
    live: bool = False,
    exact: bool = False,
) -> None:
    """Write a page.

    Args:
        avatar: of a run or a file, on the CPU.
        path: the file to write.
        provenance: whose face it is and what they agreed to; ``created`` and ``written_by`` are filled in.
        keep_track: see :func:`.page_content`.
        keep_background: see ``background`` there.
        origins: of the pages that may command this one by ``postMessage``, such as ``https://example.org``.
        live: let the page connect to :mod:`.bridge`.
        exact: see :func:`.page_content`.

    Raises:
        UserError: the avatar cannot be put into a page, or the file cannot be written.
    """
    stated = replace(
        provenance,
        created=datetime.now(timezone.utc).replace(microsecond=0).isoformat(),
        written_by=f"nerfblendshape_ns {__version__}",
    )
    content, arrays = page_content(avatar, keep_track, keep_background, exact)
    rows = {
        "Person": stated.person or "not stated",
        "Consent": stated.consent or "not stated",
        "Licence": stated.licence or "not stated",
        "Source": stated.source or "not stated",
        "Written": f"{stated.created} by {stated.written_by}",
    }
    # A terminal may hand over halves of characters, and a stranger's file state anything.
    rows = {name: printable(text) for name, text in rows.items()}
    title = rows["Person"] if stated.person else "Avatar"
    save_text(path, assemble(pack(content, arrays), title, rows, origins, live))
