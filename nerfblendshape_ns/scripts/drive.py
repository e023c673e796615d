"""``nbs-drive``: an avatar, and what drives it, become a video."""

from __future__ import annotations

from typing import Optional, Sequence

import tyro

from nerfblendshape_ns.common.errors import report_user_errors
from nerfblendshape_ns.driving.options import DriveOptions


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Console entry point; bad input ends it with one sentence on stderr and exit status 1.

    Args:
        arguments: command-line words; None takes the process's own.
    """
    options = tyro.cli(DriveOptions, prog="nbs-drive", description=DriveOptions.__doc__, args=arguments)
    # Imports nerfstudio's models, which takes seconds.
    from nerfblendshape_ns.driving.drive import drive

    with report_user_errors():
        drive(options)


if __name__ == "__main__":
    main()
