"""The transcripts in `docs/`: run what follows `$ `, compare what it printed with what is shown.

A page's ```console blocks are one session, in order, in a folder that holds a copy of the example
(`data/`, `host.py`, …); what a command exports stays exported, and `cd` goes on. A line after
`> ` continues the command above. In what is shown, `...` stands for
anything, and white space is folded: ids are exact, paths and times need not be. A block after
`<!-- session: NAME -->` begins a new session.

`python tests/docs/transcripts.py PAGE…` runs the pages and writes what was printed into them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

PROJECT: Final = Path(__file__).resolve().parents[2]
EXAMPLE: Final = PROJECT / "examples" / "daydreaming"
_BLOCK: Final = re.compile(
    r"(?P<new><!-- session: [^\n]* -->\n+)?```console\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE
)
_KEPT: Final = ("HOME", "LANG", "TMPDIR", "USER")
#: Runs $1 in a shell that is where earlier commands left it, with what they exported, and notes
#: where it is left and what it exports itself. $0 is the folder of the session.
_SHELL: Final = (
    '[ -f "$0/.exports" ] && . "$0/.exports" && cd "$PWD"; '
    'eval "$1"; s=$?; export -p >"$0/.exports"; exit $s'
)


@frozen(kw_only=True)
class Step:
    """One command of a transcript, and what the page shows after it."""

    page: str
    line: int
    command: str
    shown: str


def sessions(page: Path) -> list[list[Step]]:
    """Return the transcripts of a page, each a list of steps in order."""
    text = page.read_text(encoding="utf-8")
    found: list[list[Step]] = []
    for block in _BLOCK.finditer(text):
        if block["new"] or not found:
            found.append([])
        first = text[: block.start("body")].count("\n") + 1
        found[-1].extend(_steps(page.name, first, block["body"]))
    return found


def _steps(page: str, first: int, body: str) -> Iterator[Step]:
    command, at = "", first
    shown: list[str] = []
    for number, line in enumerate(body.splitlines(), start=first):
        if line.startswith("$ "):
            if command:
                yield Step(page=page, line=at, command=command, shown="\n".join(shown))
            command, shown, at = line[2:], [], number
        elif command and not shown and line.startswith(">"):
            command = f"{command}\n{line.removeprefix('>').removeprefix(' ')}"
        else:
            shown.append(line)
    if command:
        yield Step(page=page, line=at, command=command, shown="\n".join(shown))


def prepare(folder: Path) -> None:
    """Lay a copy of the example into `folder`, as a reader has it who begins the page."""
    shutil.copytree(
        EXAMPLE,
        folder,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("__pycache__", ".genid", "gens", "cohorts"),
    )


def run(command: str, folder: Path) -> str:
    """Run a command as the reader would, in `folder`; return all that it printed."""
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment |= {"COLUMNS": "100", "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        ["bash", "-c", _SHELL, str(folder), command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    status = f"\n(exit status {done.returncode})" if done.returncode else ""
    return f"{done.stdout.rstrip()}{status}".replace(str(folder.resolve()), "...")


def _update(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    pieces, at = [], 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for index, block in enumerate(_BLOCK.finditer(text)):
            if block["new"] or not index:
                folder = Path(temporary) / str(index)
                prepare(folder)
            pieces += [text[at : block.start("body")], _performed(page, block["body"], folder)]
            at = block.end("body")
    page.write_text("".join([*pieces, text[at:]]), encoding="utf-8")


def _performed(page: Path, body: str, folder: Path) -> str:
    lines = []
    for step in _steps(page.name, 1, body):
        printed = run(step.command, folder)
        kept = step.shown.rstrip() if "..." in step.shown else printed.rstrip()
        lines += [
            f"$ {step.command}".replace("\n", "\n> ").replace("> \n", ">\n"),
            *([kept] if kept else []),
            "",
        ]
    return "\n".join(lines).rstrip("\n") + "\n"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        _update(Path(name))
