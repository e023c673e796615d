"""``nbs-check``: look a dataset over before training."""

from __future__ import annotations

import json
import sys
from typing import Optional, Sequence

import tyro
from rich.console import Console

from nerfblendshape_ns.check.run import CheckOptions, check_dataset


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Console entry point.

    The exit status is 0 for a dataset that can be trained on, 2 for one that cannot, and with ``--strict`` 1 for one
    with warnings.

    Args:
        arguments: command-line words; None takes the process's own.
    """
    options = tyro.cli(CheckOptions, prog="nbs-check", args=arguments)
    report = check_dataset(options)
    if options.json:
        print(json.dumps(report.as_dict(), indent=1))
    else:
        report.print(Console())
    sys.exit(report.exit_status(options.strict))


if __name__ == "__main__":
    main()
