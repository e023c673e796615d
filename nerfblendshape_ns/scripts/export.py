"""``nbs-export``: a trained run becomes one portable avatar file, or one HTML page."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Tuple

import tyro

from nerfblendshape_ns.common.command import command
from nerfblendshape_ns.common.errors import UserError, printable

if TYPE_CHECKING:
    from nerfblendshape_ns.avatar.avatar_file import AvatarFile

STATED = ("person", "consent", "licence", "source")
"""Options that go into the file's provenance."""
PAGE_SUFFIXES = (".html", ".htm")
"""What browsers take for a page."""
OTHER_SUFFIXES = (".ckpt", ".yml", ".yaml", *PAGE_SUFFIXES)
"""What commands and browsers take for something else than an avatar file."""


@dataclass
class ExportOptions:
    """Write a run as one avatar file, for nbs-drive, nbs-sweep and nbs-view, or as one HTML page, for any browser; or
    show what a file says of itself."""

    run: tyro.conf.Positional[Optional[Path]] = None
    """A run's directory, its config.yml, a checkpoint, or an avatar file that is to be written again."""
    output: Optional[Path] = None
    """The file to write; named after the experiment, in this folder, if left out. With --html no file is written unless
    it is named."""
    html: Optional[Path] = None
    """Write a page that shows the avatar and needs nothing else, neither a network nor this program."""
    origins: Tuple[str, ...] = ()
    """Websites whose pages may control the avatar of a page that they embed, such as https://example.org."""
    live: bool = False
    """Let the page connect to nbs-bridge on the machine that shows it, and to nothing else."""
    person: str = ""
    """Whose face it is."""
    consent: str = ""
    """What the person agreed to, and where that is recorded."""
    licence: str = ""
    """Terms under which the file may be used."""
    source: str = ""
    """What the avatar was made from, such as the clip."""
    keep_track: bool = False
    """Also write the captured expressions and head poses, so that the clip can be played back. Without them the file
    has only the coefficients' ranges and the median pose."""
    background: bool = True
    """Write the clean plate of a torso: the room without the person. White stands in for it."""
    overwrite: bool = False
    """Replace the file if it exists."""
    show: Optional[Path] = None
    """Check an avatar file and print what it says of itself; nothing is written."""


def run(options: ExportOptions) -> None:
    """Write or show an avatar file.

    Raises:
        UserError: nothing to export, or it cannot be written.
    """
    # Imports torch, which takes seconds.
    from nerfblendshape_ns.avatar.avatar_file import SUFFIX, read_avatar_file

    if options.show is not None:
        if (options.run, options.output, options.html) != (None, None, None):
            raise UserError("--show looks at a file and writes nothing; leave it out to export.")
        try:
            print(summary(options.show, read_avatar_file(options.show)))
        except UserError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{options.show} does not say what it holds ({error}); export the run again.") from None
        return
    if options.run is None:
        raise UserError("give the directory of a run to export, or --show FILE to look at an avatar file.")
    if options.output is not None and options.output.suffix.lower() in OTHER_SUFFIXES:
        raise UserError(
            f"--output {options.output} would be taken for another kind of file; let it end in {SUFFIX}, or give a "
            "page by --html."
        )
    if options.html is None and (options.origins or options.live):
        raise UserError("--origins and --live are of a page; give --html FILE too, or leave them out.")
    if options.html is not None and options.html.suffix.lower() not in PAGE_SUFFIXES:
        raise UserError(f"--html {options.html} would not open as a page; let it end in .html.")
    # Imports nerfstudio whole, which takes seconds.
    from nerfblendshape_ns.avatar.avatar import open_avatar
    from nerfblendshape_ns.avatar.export import export_avatar
    from nerfblendshape_ns.common.output_paths import check_file, files_among
    from nerfblendshape_ns.web.origins import check_origins

    inputs = files_among([options.run])
    if options.output is not None:
        check_file(options.output, options.overwrite, inputs)
    if options.html is not None:
        check_file(options.html, options.overwrite, inputs, "--html")
    check_origins(options.origins)
    avatar = open_avatar(options.run, "cpu")
    # A file that is written again keeps what it states unless an option says otherwise.
    given = {name: value for name in STATED if (value := getattr(options, name))}
    provenance = replace(avatar.provenance, **given)
    if options.html is not None:
        from nerfblendshape_ns.web.export import export_page

        kept = (options.keep_track, options.background)
        export_page(avatar, options.html, provenance, *kept, options.origins, options.live)
        print(f"{options.html}: a page of {options.html.stat().st_size / 1e6:.1f} MB; open it in a browser.")
    if options.html is None or options.output is not None:
        output = options.output or Path(_default_name(avatar.path) + SUFFIX)
        check_file(output, options.overwrite, inputs)
        export_avatar(avatar, output, provenance, options.keep_track, options.background)
        print(summary(output, read_avatar_file(output)))
    if not provenance.consent:
        print("note: the file states no consent; --consent says what the person agreed to.", file=sys.stderr)


def summary(path: Path, content: AvatarFile) -> str:
    """What a file says of itself, for reading."""
    from nerfblendshape_ns.avatar.avatar_file import VERSION

    description, stated = content.description, content.provenance
    basis, about = description["basis"], description.get("avatar", {})
    names = basis["names"]
    height, width = description["image_size"]
    parameters = sum(tensor.numel() for tensor in content.tensors.values() if tensor.is_floating_point())
    step = about.get("step")
    lines = [
        f"{path}: {description['kind']} avatar, file version {VERSION}, {path.stat().st_size / 1e6:.1f} MB",
        *(f"{name + ':':<13} {getattr(stated, name) or 'not stated'}" for name in STATED),
        f"written:      {stated.created} by {stated.written_by}",
        f"model:        {parameters:,} numbers{'' if step is None else f', trained {step + 1} steps'}, images of"
        f" {width}x{height}, {description['fps']:g} frames per second",
        f"coefficients: {len(names)} of {basis['id']}: {', '.join(names)}",
        f"clip's track: {'expressions and head poses are in the file' if about.get('has_track') else 'left out'}",
        f"digest:       {content.digest}",
    ]
    # Of a stranger's file anything may come: neither what a terminal acts on, nor lines of its own.
    return "\n".join(printable(" ".join(line.splitlines())) for line in lines)


def _default_name(source: Path) -> str:
    """``EXPERIMENT`` for ``EXPERIMENT/METHOD/TIME/nerfstudio_models/step.ckpt``, else after the file."""
    parents = source.resolve().parents
    in_run = source.suffix == ".ckpt" and len(parents) > 3 and parents[0].name == "nerfstudio_models"
    return parents[3].name if in_run else source.stem


main = command(ExportOptions, "nbs-export", run)

if __name__ == "__main__":
    main()
