"""What importing the core brings: attrs and blake3 and nothing that takes time."""

import subprocess
import sys

import pytest

import genid


def test_the_core_imports_two_packages() -> None:
    """Nothing else that is not of the standard library, and nothing heavy that is."""
    code = "import sys, genid; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    run = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(run.stdout.split())
    assert {"attr", "attrs", "blake3", "genid"} == {
        name
        for name in loaded - sys.stdlib_module_names
        if not name.startswith(("_", "sitecustomize", "usercustomize"))
    }
    heavy = {"asyncio", "json", "logging", "pathlib", "random", "socket", "sqlite3", "ssl"}
    assert set() == heavy & loaded


def test_every_name_of_the_package_is_there_when_it_is_asked_for() -> None:
    """Those that are loaded later too: as an attribute, in `dir`, and by a star import."""
    code = (
        "import genid, sys; later = {'genid._explain', 'genid.grid', 'genid.parse'}\n"
        "assert not later & set(sys.modules)\n"
        "assert set(genid.__all__) <= set(dir(genid))\n"
        "assert all(callable(one) for one in (genid.explain, genid.Grid, genid.parse_id))\n"
        "assert later <= set(sys.modules)\n"
        "from genid import *\n"
        "assert all(globals()[name] is getattr(genid, name) for name in genid.__all__)\n"
    )
    subprocess.run([sys.executable, "-I", "-c", code], check=True)


def test_a_name_that_the_package_does_not_have_is_an_attribute_error() -> None:
    """As everywhere in Python; type checkers refuse it too (`tests/typing`)."""
    with pytest.raises(AttributeError, match="'genid' has no attribute 'gen_ids'"):
        genid.gen_ids  # type: ignore[attr-defined]  # noqa: B018
