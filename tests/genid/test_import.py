"""What importing the core brings: attrs and blake3 and nothing that takes time."""

import subprocess
import sys


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
