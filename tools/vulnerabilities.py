"""Says which known vulnerabilities the packages of an environment have, by pip-audit, from PyPI's database.

python tools/vulnerabilities.py PYTHON --pip-audit PROGRAM

Exit status 1 where there are any, or where the database does not answer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from nerfblendshape_ns.common.errors import UserError, report_user_errors

SEEN = "pip"
"""Package that every environment has, asked for alone before all others."""


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Entry point; what is wrong ends it with one sentence on stderr and exit status 1.

    Args:
        arguments: command-line words; None takes the process's own.
    """
    parser = argparse.ArgumentParser(description="Says which known vulnerabilities an environment's packages have.")
    parser.add_argument("python", type=Path, help="interpreter of the environment")
    parser.add_argument("--pip-audit", type=Path, required=True, help="the program, from an environment of its own")
    options = parser.parse_args(arguments)
    with report_user_errors():
        packages = installed(options.python)
        audit(options.pip_audit, [line for line in packages if line.startswith(f"{SEEN}==")])
        report(audit(options.pip_audit, packages))


def installed(python: Path) -> List[str]:
    """``name==version`` of each package of an environment but editable ones; local parts (``+cu130``) left out."""
    command = [str(python), "-m", "pip", "list", "--format=freeze", "--exclude-editable", "--disable-pip-version-check"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.partition("+")[0] for line in listed.split()]


def audit(program: Path, packages: Sequence[str]) -> List[Dict[str, Any]]:
    """What pip-audit found for each package.

    Raises:
        UserError: the database does not answer, or knows none of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "requirements.txt")
        wanted.write_text("\n".join(packages), encoding="utf-8")
        command = [str(program), "--requirement", str(wanted), "--no-deps", "--disable-pip", "--format", "json"]
        done = subprocess.run([*command, "--progress-spinner", "off"], capture_output=True, text=True, check=False)
    try:
        found = json.loads(done.stdout)["dependencies"]
    except ValueError:
        found = []
    if all("skip_reason" in each for each in found):
        reasons = [each["skip_reason"] for each in found] or done.stderr.strip().splitlines() or ["no reason given"]
        raise UserError(
            f"PyPI's database of vulnerabilities does not answer here ({reasons[-1]}); nothing was audited. Run "
            "this where the package index can be reached."
        )
    return found


def report(found: Sequence[Dict[str, Any]]) -> None:
    """Print what is known.

    Raises:
        UserError: there are vulnerabilities.
    """
    skipped = [each["name"] for each in found if "skip_reason" in each]
    known = [(each, one) for each in found for one in each.get("vulns", [])]
    for package, one in known:
        mended = ", ".join(one["fix_versions"]) or "none"
        print(f"{package['name']} {package['version']}: {one['id']}, mended in: {mended}")
    print(f"{len(found) - len(skipped)} packages audited, not in the database: {', '.join(skipped) or 'none'}.")
    if known:
        raise UserError(f"{len(known)} known vulnerabilities, listed above; upgrade what can be upgraded.")


if __name__ == "__main__":
    main()
