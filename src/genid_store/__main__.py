"""Entry point of the `genid` command; prints how to install it if its dependencies are missing."""

from __future__ import annotations

import codecs
import io
import os
import signal
import sys
import threading


def main() -> int:
    """Run the command line and return its exit status (0 done, 1 refused or findings, 2 usage)."""
    if not _streams_are_there():
        print("genid: standard output is closed; redirect it to /dev/null", file=sys.stderr)
        return 1
    try:
        import click  # noqa: F401
    except ModuleNotFoundError:
        message = "the command is an extra of generation-ids: pip install '.[cli]' in a checkout"
        print(f"genid: {message}", file=sys.stderr)
        return 2
    _search_last(os.getcwd())
    from genid_store.cli import run
    from genid_store.cli._errors import INTERRUPTED

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A stream of ASCII alone would be passed by: click writes UTF-8 to its buffer.
            encoding = "utf-8" if codecs.lookup(stream.encoding).name == "ascii" else None
            stream.reconfigure(encoding=encoding, errors="backslashreplace")
    status = run(sys.argv[1:])
    if "--json" in sys.argv:
        os.dup2(2, 1)  # what a host's module prints at exit is no part of the document
    if status == INTERRUPTED and threading.active_count() > 1:
        # Python waits for them at the end, and a further Ctrl-C would show a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        print("genid: the calls in flight end first; Ctrl-C again leaves them", file=sys.stderr)
    return status


def _search_last(folder: str) -> None:
    """Move the current folder, which `python -m` puts first, to the end of the import path, so that
    a file such as `calendar.py` in it shadows no module."""
    if sys.path and sys.path[0] in ("", folder):
        sys.path.append(sys.path.pop(0))


def _streams_are_there() -> bool:
    """Open closed standard descriptors to the null device, so that no file of the store gets their
    numbers; return whether standard output was open."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    return sys.stdout is not None


if __name__ == "__main__":
    sys.exit(main())
