"""``nbs-recipe``: run an experiment from ``configs/`` by name."""

from __future__ import annotations

from typing import Optional, Sequence

import tyro

from nerfblendshape_ns.common.errors import report_user_errors
from nerfblendshape_ns.recipes.options import RecipeOptions


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Console entry point; bad input ends it with one sentence on stderr and exit status 1.

    Args:
        arguments: command-line words; None takes the process's own.
    """
    options = tyro.cli(RecipeOptions, prog="nbs-recipe", description=RecipeOptions.__doc__, args=arguments)
    # Imports nerfstudio whole, which takes seconds.
    from nerfblendshape_ns.recipes.run import run_recipe

    with report_user_errors():
        run_recipe(options)


if __name__ == "__main__":
    main()
