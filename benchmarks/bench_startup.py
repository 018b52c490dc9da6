"""Start-up: what importing the core and starting the command cost, in fresh processes."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from benchmarks.bench_cohort import memory_folder, unbuild
from benchmarks.harness import Case, Figure, Size
from genid_store.fs.layout import DataRoot

_COMMAND = "import sys; sys.argv = {argv!r}; from genid_store.__main__ import main; main()"
_EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "daydreaming" / "data"
_DERIVE = [
    "genid", "derive", "draft", "--combo-id", "c", "--template-id", "t", "--llm-model-id", "m",
    "--replicate", "1",
]  # fmt: skip


def cases(size: Size) -> Iterator[Case | Figure]:
    """Yield fresh interpreters against fresh interpreters that import the libraries alone."""
    if size == "long":
        return
    rounds = 41 if size == "full" else 21  # one start differs from the next by a tenth
    yield Case(
        name="import genid",
        peer_name="import attrs, blake3",
        limit_name="python -c pass",
        ours=process("import genid"),
        peer=process("import attrs, blake3"),
        limit=process("pass"),
        better="cost",
        goal=1.1,
        bound=1.4,
        rounds=rounds,
        clock="children",
    )
    if find_spec("click") is None:
        return
    for argv in (["genid", "--help"], _DERIVE):
        yield Case(
            name=" ".join(argv[:2]),
            peer_name="import click, attrs, blake3",
            ours=process(_COMMAND.format(argv=argv)),
            peer=process("import click, attrs, blake3"),
            better="cost",
            goal=1.3,
            bound=1.7,
            rounds=rounds,
            clock="children",
        )
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        root = Path(folder, "data")
        shutil.copytree(_EXAMPLE, root)
        build = ["genid", "cohort", "build", "--data-root", str(root), "--cohort-id", "bench"]
        yield Case(
            name="genid cohort build of the example",
            peer_name="import click, attrs, blake3",
            ours=process(_COMMAND.format(argv=build)),
            peer=process("import click, attrs, blake3"),
            before=lambda: unbuild(DataRoot.open(root)),
            better="cost",
            goal=4,
            bound=5.2,
            rounds=rounds,
            clock="children",
        )


def process(code: str) -> Callable[[], object]:
    """Return a call that runs code in a fresh interpreter, which may keep the bytecode of what it
    imports, as an installed package has it."""
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-c", code]
    return lambda: subprocess.run(command, check=True, capture_output=True, env=environ)
