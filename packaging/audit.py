"""Asks about known flaws of every pinned package, by pip-audit. packaging/audit.sh runs this in its environment.

    python packaging/audit.py [--program pip-audit] [FILE...]

FILE: lists of pins; without one, those of the program. Exit codes: 0: every package was asked about and none has a
known flaw; 1: one has; 2: wrong usage; 3: not every package could be asked about, for example without the internet.
pip-audit alone exits with 0 where it has skipped packages.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PINS = Path(__file__).parent.parent / ".ci" / "requirements.txt"
FLAWED, UNKNOWN = 1, 3
LONGEST_S = 600


class NotAsked(Exception):
    """There is no answer. The text says why."""


def ask(program: str, file: Path) -> list[dict[str, Any]]:
    """pip-audit's record of each package of a list. Raises NotAsked."""
    options = ["--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    try:
        done = subprocess.run(
            [program, *options, "--requirement", str(file)],
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_S,
        )
    except OSError as error:
        raise NotAsked(f"{program} cannot be started: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise NotAsked(f"{program} gave no answer within {LONGEST_S} seconds") from None
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        reason = lines[-1] if lines else "no output"
        raise NotAsked(f"{program} exited with {done.returncode}: {reason}") from None
    return found


def report(file: Path, packages: list[dict[str, Any]]) -> int:
    """Prints what was found. Returns the exit code."""
    flaws = [(package, flaw) for package in packages for flaw in package.get("vulns", [])]
    skipped = [package for package in packages if "skip_reason" in package]
    for package, flaw in flaws:
        names = ", ".join([flaw["id"], *flaw.get("aliases", [])])
        fixed = ", ".join(flaw.get("fix_versions", [])) or "no version yet"
        print(f"{package['name']} {package['version']}: {names}; fixed in: {fixed}")
    for package in skipped:
        print(f"{package['name']}: not asked about: {package['skip_reason']}", file=sys.stderr)
    asked = len(packages) - len(skipped)
    print(f"{file.name}: {asked} of {len(packages)} packages asked about, {len(flaws)} known flaws")
    if flaws:
        return FLAWED
    return UNKNOWN if skipped or not packages else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", type=Path, nargs="*", default=[PINS], metavar="FILE")
    parser.add_argument("--program", default="pip-audit")
    given = parser.parse_args()
    codes = []
    for file in given.files:
        try:
            codes.append(report(file, ask(given.program, file)))
        except NotAsked as problem:
            print(f"{file.name}: not audited: {problem}", file=sys.stderr)
            codes.append(UNKNOWN)
    sys.exit(FLAWED if FLAWED in codes else max(codes))


if __name__ == "__main__":
    main()
