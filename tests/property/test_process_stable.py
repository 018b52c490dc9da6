"""Law: an id does not depend on the process that derives it."""

import json
import os
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from genid import PHASE_1, Signature, canonical_bytes, gen_id
from signature_kit import A_DRAFT, AN_ESSAY, AN_EVALUATION

_SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from signature_kit import A_DRAFT, AN_ESSAY, AN_EVALUATION
from genid import PHASE_1, canonical_bytes, gen_id
print(json.dumps([
    [canonical_bytes(s).decode(), gen_id(s), gen_id(s, PHASE_1)]
    for s in (A_DRAFT, AN_ESSAY, AN_EVALUATION)
]))
"""


def everything() -> list[list[str]]:
    """Derive what is compared."""
    signatures: list[Signature[Any]] = [A_DRAFT, AN_ESSAY, AN_EVALUATION]
    return [[canonical_bytes(s).decode(), gen_id(s), gen_id(s, PHASE_1)] for s in signatures]


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONHASHSEED": "0"},
        {"PYTHONHASHSEED": "1", "TZ": "Pacific/Kiritimati"},
        {"PYTHONHASHSEED": "4294967295", "LC_ALL": "C", "LANG": "C"},
        {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "TZ": "America/St_Johns"},
        {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "PYTHONOPTIMIZE": "2"},
    ],
    ids=lambda environment: ",".join(f"{name}={value}" for name, value in environment.items()),
)
def test_ids_do_not_depend_on_the_environment(
    environment: dict[str, str], tmp_path: Path, project: Path
) -> None:
    """Hash seed, locale, time zone, optimization and working directory change nothing."""
    tests = str(project / "tests")
    run = subprocess.run(
        [sys.executable, "-c", _SCRIPT, tests],
        env={**os.environ, **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert everything() == json.loads(run.stdout)


def test_a_spawned_process_derives_the_same() -> None:
    """A fresh interpreter, started by multiprocessing, agrees about a signature sent to it."""
    with get_context("spawn").Pool(1) as pool:
        ids = pool.map(_id, [A_DRAFT, AN_ESSAY, AN_EVALUATION])
    assert [gen_id(A_DRAFT), gen_id(AN_ESSAY), gen_id(AN_EVALUATION)] == ids


def _id(signature: Any) -> str:
    return str(gen_id(signature))
