"""Websites that a user lets in, as browsers name them."""

from __future__ import annotations

import re
from typing import Sequence

from nerfblendshape_ns.common.errors import UserError


def check_origins(origins: Sequence[str]) -> None:
    """Refuse what no browser sends as an origin, such as an address with a path, capitals or the scheme's usual port.

    Raises:
        UserError: as said.
    """
    for origin in origins:
        usual = re.fullmatch(r"http://.*:80|https://.*:443", origin)
        if usual or not re.fullmatch(r"https?://[a-z\d_.\-]+(:\d+)?", origin, re.ASCII):
            raise UserError(
                f"--origins {origin} is no origin; give scheme, host and port alone as a browser does, in small "
                "letters and without the usual port: https://example.org."
            )
