"""Coverage-guided fuzzing by one command: ``python -m tests.fuzz [--seconds N] [TARGET ...]``.

Each target runs for N seconds (60) in a process of its own, from the seeds of ``tests/corpus``; what it learns is
kept in ``build/fuzz/TARGET``, what breaks it in ``build/fuzz/TARGET-crash-*``. Exit code 1 where something broke.
atheris, the fuzzer, is installed into this interpreter's environment when it is missing; there is none for Python
newer than 3.12.
"""

import argparse
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

from tests.fuzz.targets import CORPUS, TARGETS

KEPT = Path("build") / "fuzz"
NEWEST = (3, 12)
REQUIREMENT = "atheris>=2.3"
FIGURES = re.compile(r"#(\d+)\s+DONE\s+cov: (\d+)")


def provide() -> str | None:
    """Installs the fuzzer where it is missing; the answer is why there is none."""
    if importlib.util.find_spec("atheris") is not None:
        return None
    if sys.version_info[:2] > NEWEST:
        return f"atheris exists for Python 3.11 and 3.12; this is {sys.version.split()[0]}"
    print(f"installing {REQUIREMENT} into {sys.prefix} (once; the tests do without)", flush=True)
    done = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", REQUIREMENT], check=False)
    return None if done.returncode == 0 else "atheris could not be installed: see above"


def run(name: str, seconds: int) -> bool:
    """One target in its own process: the fuzzer never returns. True where nothing broke."""
    kept = KEPT / name
    kept.mkdir(parents=True, exist_ok=True)
    limits = (f"-max_total_time={seconds}", "-timeout=5", "-rss_limit_mb=1024", "-max_len=4096", "-verbosity=1")
    where = (f"-artifact_prefix={KEPT}/{name}-", str(kept), str(CORPUS / name))
    argv = [sys.executable, "-m", "tests.fuzz.one", name, *limits, *where]
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
    matched = FIGURES.search(done.stderr)
    figures = f"{matched[1]} inputs, {matched[2]} branches" if matched else "no figures"
    print(f"{name:15} {'ok' if done.returncode == 0 else 'BROKEN'}: {figures}", flush=True)
    if done.returncode != 0:
        print((done.stdout + done.stderr)[-4000:])
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the parsers, led by coverage.")
    parser.add_argument("--seconds", type=int, default=60, metavar="N", help="for each target")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; none: all")
    given = parser.parse_args()
    if unknown := set(given.targets) - TARGETS.keys():
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if (problem := provide()) is not None:
        print(problem, file=sys.stderr)
        return 2
    broken = [name for name in given.targets or TARGETS if not run(name, given.seconds)]
    return 1 if broken else 0


sys.exit(main())
