"""``nbs-process-data``: a talking-head video becomes a dataset for ``ns-train``."""

from __future__ import annotations

from nerfblendshape_ns.common.command import command
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.pipeline import process_video

main = command(ProcessOptions, "nbs-process-data", process_video)

if __name__ == "__main__":
    main()
