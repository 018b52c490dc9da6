"""Start-up: what importing the core and starting the command cost, in fresh processes."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec

from benchmarks.harness import Case, Figure, Size

_COMMAND = "import sys; sys.argv = {argv!r}; from genid_store.__main__ import main; main()"
_DERIVE = [
    "genid", "derive", "draft", "--combo-id", "c", "--template-id", "t", "--llm-model-id", "m",
    "--replicate", "1",
]  # fmt: skip


def cases(size: Size) -> Iterator[Case | Figure]:
    """Yield fresh interpreters against fresh interpreters that import the libraries alone."""
    if size == "long":
        return
    rounds = 15 if size == "full" else 7
    yield Case(
        name="import genid",
        peer_name="import attrs, blake3",
        limit_name="python -c pass",
        ours=process("import genid"),
        peer=process("import attrs, blake3"),
        limit=process("pass"),
        better="cost",
        goal=1.1,
        bound=1.3,
        rounds=rounds,
        clock="children",
    )
    if find_spec("click") is None:
        return
    for name, argv in (("genid --help", ["genid", "--help"]), ("genid derive", _DERIVE)):
        yield Case(
            name=name,
            peer_name="import click",
            ours=process(_COMMAND.format(argv=argv)),
            peer=process("import click"),
            better="cost",
            goal=1.3,
            bound=2,
            rounds=rounds,
            clock="children",
        )


def process(code: str) -> Callable[[], object]:
    """Return a call that runs code in a fresh interpreter."""
    return lambda: subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
