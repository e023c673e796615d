"""``nbs-check``: look a dataset over before training."""

from __future__ import annotations

import json
import sys

from rich.console import Console

from nerfblendshape_ns.check.run import CheckOptions, check_dataset
from nerfblendshape_ns.common.command import command


def run(options: CheckOptions) -> None:
    """Print what was found.

    The exit status is 0 for a dataset that can be trained on, 2 for one that cannot, and with ``--strict`` 1 for one
    with warnings.
    """
    report = check_dataset(options)
    if options.json:
        print(json.dumps(report.as_dict(), indent=1))
    else:
        report.print(Console())
    sys.exit(report.exit_status(options.strict))


main = command(CheckOptions, "nbs-check", run)

if __name__ == "__main__":
    main()
