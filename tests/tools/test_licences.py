"""docs/licences.md names what pyproject.toml requires, and the tools of `make audit` say what they find."""

from __future__ import annotations

import json
import sys
from email.message import Message
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import licences
import pytest
import vulnerabilities
from marked_page import marks

BEGIN, END = marks(licences.MARK)


def test_the_page_names_every_direct_requirement_with_a_licence():
    pytest.importorskip("tomllib", reason="Python 3.11 brings it")
    told = dict(licences.told(licences.PAGE.read_text(encoding="utf-8")))
    direct = {need.name for need in licences.direct_requirements()}
    assert len(direct) > 30 and {"nerfstudio", "torch", "websockets", "distributed", "ruff"} <= direct
    assert direct <= set(told)
    assert "not stated" not in told.values()


def test_a_page_that_lacks_a_package_is_reported_and_rendered(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(licences, "direct_requirements", lambda: [licences.Needed("nerfacc", "")])
    page = tmp_path / "licences.md"
    page.write_text(f"above\n{BEGIN}\n| `nerfacc` | GPL | always |\n{END}\nbelow\n")
    with pytest.raises(SystemExit):
        licences.main(["--check", "--page", str(page)])
    told = capsys.readouterr().err
    assert (
        told.startswith(f"error: {page} lacks ") and "nerfacc (MIT)" in told and "run python tools/licences.py" in told
    )
    licences.main(["--page", str(page)])
    text = page.read_text()
    assert text.startswith("above\n") and text.endswith("below\n") and "| `nerfacc` | MIT | always |" in text
    assert "`torch`" in text, "what it brings"
    licences.main(["--check", "--page", str(page)])
    page.write_text(text.replace(END, "| MIT | `another` |\n" + END))
    licences.main(["--check", "--page", str(page)])  # Another machine may need more.


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ([("License-Expression", "MIT AND PSF-2.0"), ("License", "other")], "MIT AND PSF-2.0"),
        ([("License", "Apache 2.0")], "Apache-2.0"),
        ([("License", "MIT License\n\nCopyright (c) 2023 ...")], "MIT"),
        ([("License", "Copyright ...\n..."), ("Classifier", "License :: OSI Approved :: BSD License")], "BSD"),
        ([("License", "UNKNOWN"), ("Classifier", "License :: Public Domain")], "Public Domain"),
        ([("Classifier", "Topic :: Software Development")], "not stated"),
    ],
)
def test_a_licence_is_what_metadata_state_as_spdx_where_that_can_be_told(fields, licence):
    metadata = Message()
    for name, value in fields:
        metadata[name] = value
    found: Any = SimpleNamespace(metadata=metadata)
    assert licences.licence_of(found) == licence


@pytest.fixture
def pip_audit(tmp_path, monkeypatch):
    """A stand-in that prints a given answer, for an environment that holds pip alone."""
    monkeypatch.setattr(vulnerabilities, "installed", lambda python: ["pip==1.0"])

    def program(answer: str, error: str = "") -> Path:
        path = tmp_path / "pip-audit"
        path.write_text(f"#!{sys.executable}\nimport sys\nprint({answer!r})\nprint({error!r}, file=sys.stderr)\n")
        path.chmod(0o755)
        return path

    return program


def run(program: Path) -> None:
    vulnerabilities.main([sys.executable, "--pip-audit", str(program)])


def test_known_vulnerabilities_are_listed_and_end_it(pip_audit, capsys):
    found = [
        {"name": "pip", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1", "2.0"]}]},
        {"name": "other", "version": "3", "vulns": []},
        {"name": "own", "skip_reason": "not on PyPI"},
    ]
    with pytest.raises(SystemExit) as stopped:
        run(pip_audit(json.dumps({"dependencies": found})))
    told = capsys.readouterr()
    assert stopped.value.code == 1 and told.err.startswith("error: 1 known vulnerabilities")
    assert told.out == "pip 1.0: PYSEC-1, mended in: 1.1, 2.0\n2 packages audited, not in the database: own.\n"


def test_installed_packages_are_listed_without_the_local_part_of_a_version(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho torch==2.6.0+cpu; echo numpy==1.26.4\n")
    python.chmod(0o755)
    assert vulnerabilities.installed(python) == ["torch==2.6.0", "numpy==1.26.4"]


def test_without_any_it_ends_well(pip_audit, capsys):
    run(pip_audit(json.dumps({"dependencies": [{"name": "pip", "version": "1.0", "vulns": []}]})))
    assert capsys.readouterr().out == "1 packages audited, not in the database: none.\n"


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        ("", "Traceback ...\nConnectionError: no route", "ConnectionError: no route"),
        (json.dumps({"dependencies": [{"name": "pip", "skip_reason": "not found"}]}), "None known", "not found"),
    ],
)
def test_a_database_that_does_not_answer_is_no_good_news(pip_audit, capsys, answer, error, reason):
    with pytest.raises(SystemExit) as stopped:
        run(pip_audit(answer, error))
    assert stopped.value.code == 1
    assert f"does not answer here ({reason}); nothing was audited" in capsys.readouterr().err
