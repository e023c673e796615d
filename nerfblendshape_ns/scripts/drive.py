"""``nbs-drive``: an avatar, and what drives it, become a video."""

from __future__ import annotations

from nerfblendshape_ns.common.command import command
from nerfblendshape_ns.driving.options import DriveOptions


def run(options: DriveOptions) -> None:
    """Drive; see :func:`nerfblendshape_ns.driving.drive.drive`."""
    # Imports nerfstudio's models, which takes seconds.
    from nerfblendshape_ns.driving.drive import drive

    drive(options)


main = command(DriveOptions, "nbs-drive", run)

if __name__ == "__main__":
    main()
