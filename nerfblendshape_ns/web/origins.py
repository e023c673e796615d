"""Websites that a user lets in, as browsers name them."""

from __future__ import annotations

import re
from typing import Sequence

from nerfblendshape_ns.common.errors import UserError


def check_origins(origins: Sequence[str]) -> None:
    """Refuse what no browser sends as an origin, such as an address with a path.

    Raises:
        UserError: as said.
    """
    for origin in origins:
        if not re.fullmatch(r"https?://[\w.\-]+(:\d+)?", origin):
            raise UserError(f"--origins {origin} is no origin; give scheme, host and port alone: https://example.org.")
