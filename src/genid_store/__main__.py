"""The `genid` command's door: says in one line how to get the command where it is not installed."""

from __future__ import annotations

import io
import sys


def main() -> int:
    """Run the command line and return its exit status (0 done, 1 refused or findings, 2 usage)."""
    try:
        import click  # noqa: F401
    except ModuleNotFoundError:
        print("genid: the command is an extra: pip install 'generation-ids[cli]'", file=sys.stderr)
        return 2
    from genid_store.cli import run

    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that cannot show a name is no error
        sys.stdout.reconfigure(errors="backslashreplace")
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
