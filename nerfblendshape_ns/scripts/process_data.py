"""``nbs-process-data``: a talking-head video becomes a dataset for ``ns-train``."""

from __future__ import annotations

from typing import Optional, Sequence

import tyro

from nerfblendshape_ns.common.errors import report_user_errors
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.pipeline import process_video


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Console entry point; bad input ends it with one sentence on stderr and exit status 1.

    Args:
        arguments: command-line words; None takes the process's own.
    """
    options = tyro.cli(ProcessOptions, prog="nbs-process-data", args=arguments)
    with report_user_errors():
        process_video(options)


if __name__ == "__main__":
    main()
