"""``nbs-batch``: an avatar of every clip of a folder."""

from __future__ import annotations

import sys

from nerfblendshape_ns.batch.options import BatchOptions
from nerfblendshape_ns.common.command import command


def run(options: BatchOptions) -> None:
    """Make the avatars; exit status 1 where a clip failed, 130 where it was stopped."""
    from nerfblendshape_ns.batch.run import run_batch

    try:
        statuses = run_batch(options)
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        sys.exit(130)
    if any(status.state != "done" for status in statuses):
        sys.exit(1)


main = command(BatchOptions, "nbs-batch", run)

if __name__ == "__main__":
    main()
