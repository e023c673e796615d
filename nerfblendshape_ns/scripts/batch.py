"""``nbs-batch``: an avatar of every clip of a folder."""

from __future__ import annotations

import sys
from typing import Optional, Sequence

import tyro

from nerfblendshape_ns.batch.options import BatchOptions
from nerfblendshape_ns.common.errors import report_user_errors


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Console entry point; exit status 1 where a clip failed or input is bad, 130 where it was stopped.

    Args:
        arguments: command-line words; None takes the process's own.
    """
    options = tyro.cli(BatchOptions, prog="nbs-batch", description=BatchOptions.__doc__, args=arguments)
    from nerfblendshape_ns.batch.run import run_batch

    with report_user_errors():
        try:
            statuses = run_batch(options)
        except KeyboardInterrupt:
            print("stopped; the same command continues", file=sys.stderr)
            sys.exit(130)
    if any(status.state != "done" for status in statuses):
        sys.exit(1)


if __name__ == "__main__":
    main()
