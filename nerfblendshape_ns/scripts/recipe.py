"""``nbs-recipe``: run an experiment from ``configs/`` by name."""

from __future__ import annotations

from nerfblendshape_ns.common.command import command
from nerfblendshape_ns.recipes.options import RecipeOptions


def run(options: RecipeOptions) -> None:
    """Run it; see :func:`nerfblendshape_ns.recipes.run.run_recipe`."""
    # Imports nerfstudio whole, which takes seconds.
    from nerfblendshape_ns.recipes.run import run_recipe

    run_recipe(options)


main = command(RecipeOptions, "nbs-recipe", run)

if __name__ == "__main__":
    main()
