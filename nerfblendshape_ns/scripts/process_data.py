"""``nbs-process-data``: a talking-head video becomes a dataset for ``ns-train``."""

from __future__ import annotations

import tyro

from nerfblendshape_ns.errors import report_user_errors
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.pipeline import process_video


def main() -> None:
    """Console entry point; bad input ends it with one sentence on stderr and exit status 1."""
    options = tyro.cli(ProcessOptions, prog="nbs-process-data", description=ProcessOptions.__doc__)
    with report_user_errors():
        process_video(options)


if __name__ == "__main__":
    main()
