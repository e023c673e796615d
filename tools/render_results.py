"""Renders the tables of README.md and docs/results.md from results/.

python tools/render_results.py            # after nbs-recipe --record
python tools/render_results.py --check    # exit status 1 where a file differs from what would be rendered
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Dict, Optional, Sequence

from marked_page import filled
from result_figures import Recorded
from result_markdown import paragraphs, runs_table, section
from result_public import public_datasets
from result_tables import PAGE, README_TABLE

from nerfblendshape_ns.common.errors import UserError, report_user_errors
from nerfblendshape_ns.common.file_io import save_text
from nerfblendshape_ns.recipes.results import FOLDER, load_results

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Entry point; what is wrong ends it with one sentence on stderr and exit status 1.

    Args:
        arguments: command-line words; None takes the process's own.
    """
    parser = argparse.ArgumentParser(description="Renders the tables of README.md and docs/results.md from results/.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 where a file would change")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository")
    options = parser.parse_args(arguments)
    with report_user_errors():
        changed = outdated(options.root)
        if options.check and changed:
            names = " and ".join(str(path.relative_to(options.root)) for path in changed)
            raise UserError(f"the tables of {names} are not those of {FOLDER}/; run python tools/render_results.py.")
        for path, text in changed.items():
            save_text(path, text)
            print(f"{path} rendered")


def outdated(root: Path) -> Dict[Path, str]:
    """Documents that do not show the results, with the text that they should have.

    Args:
        root: the repository.

    Raises:
        UserError: a result is broken, or a document is missing or has no place for its tables.
    """
    results = load_results(root / FOLDER)
    recorded = Recorded(results)
    rendered = {
        root / "README.md": section(README_TABLE, recorded),
        root / "docs" / "results.md": paragraphs(
            *(section(table, recorded) for table in PAGE),
            public_datasets(root, recorded),
            paragraphs("## Runs", runs_table(results)),
        ),
    }
    texts = {path: filled(path, "results", tables) for path, tables in rendered.items()}
    return {path: text for path, text in texts.items() if text != path.read_text(encoding="utf-8")}


if __name__ == "__main__":
    main()
