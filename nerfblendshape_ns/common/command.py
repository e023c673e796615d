"""The entry point that console scripts share."""

from __future__ import annotations

from typing import Callable, Optional, Sequence, Type, TypeVar

import tyro

from nerfblendshape_ns.common.errors import report_user_errors

Options = TypeVar("Options")


def command(options: Type[Options], program: str, run: Callable[[Options], object]) -> Callable[..., None]:
    """The entry point of a program, a function of command-line words; None takes those of the process.

    Bad input ends the program with one sentence on stderr and exit status 1, Ctrl-C with one word.

    Args:
        options: a dataclass; its docstring describes the program.
        program: its name.
        run: what it does; may raise ``UserError``.
    """

    def main(arguments: Optional[Sequence[str]] = None) -> None:
        chosen = tyro.cli(options, prog=program, args=arguments)
        with report_user_errors():
            run(chosen)

    return main
