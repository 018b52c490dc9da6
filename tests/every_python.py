"""Run the core's tests on every Python 3.11 to 3.14 found on this machine.

    python tests/every_python.py [--quick]

Interpreters are looked for on the PATH and in `~/.pyenv/versions`. Each gets an environment below
`build/pythons`, kept from run to run, with the core and what its tests need. `--quick` leaves the
running interpreter out and runs the vectors and the reference law alone.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import which

PROJECT = Path(__file__).resolve().parent.parent
HOME = PROJECT / "build" / "pythons"
VERSIONS = ((3, 11), (3, 12), (3, 13), (3, 14))
NEEDS = ("hypothesis", "mypy", "pytest", "rfc8785", "typeid-python", "duckdb")
QUICK = ("tests/genid/test_vectors.py", "tests/property/test_reference.py")
FULL = ("tests/genid", "tests/property", "tests/typing")


def say(line: str) -> None:
    """Print a line at once: what is run prints too."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Run the tests everywhere; return 0 if all passed, 1 otherwise."""
    quick = "--quick" in arguments
    failed = []
    for version in VERSIONS:
        name = ".".join(map(str, version))
        if quick and version == sys.version_info[:2]:
            continue
        interpreter = next(_interpreters(name), None)
        if interpreter is None:
            say(f"Python {name}: not found on this machine")
            continue
        say(f"Python {name}: {interpreter}")
        if not _passes(_environment(name, interpreter), QUICK if quick else FULL):
            failed.append(name)
    say(f"failed on Python {', '.join(failed)}" if failed else "passed on every Python found")
    return 1 if failed else 0


def _interpreters(name: str) -> Iterator[str]:
    """Yield interpreters of one minor version, those on the PATH first."""
    candidates = [which(f"python{name}"), sys.executable]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates += sorted(map(str, pyenv.glob(f"{name}*/bin/python")))
    for candidate in filter(None, candidates):
        asked = subprocess.run([candidate, "-V"], capture_output=True, text=True, check=False)
        if re.match(rf"Python {re.escape(name)}\.", asked.stdout):
            yield candidate


def _environment(name: str, interpreter: str) -> Path:
    """Make the environment of one version if it is not there; return its interpreter."""
    python = HOME / name / "bin" / "python"
    stamp = HOME / name / "complete"
    if not stamp.exists():
        subprocess.run([interpreter, "-m", "venv", "--clear", HOME / name], check=True)
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        pins = ["-c", str(PROJECT / "constraints.txt")]
        subprocess.run([*pip, *pins, "-e", str(PROJECT), *NEEDS], check=True)
        stamp.touch()
    return python


def _passes(python: Path, tests: tuple[str, ...]) -> bool:
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    return subprocess.run(command, cwd=PROJECT, check=False).returncode == 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
