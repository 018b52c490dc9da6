"""What `make demo` shows is what happens."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_demo_pays_once(tmp_path: Path) -> None:
    """It takes every step; the second run of its cohort calls no generator."""
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    demo = tmp_path / "examples/daydreaming/demo.py"
    done = subprocess.run([sys.executable, demo], capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    assert ["20", "0"] == re.findall(r"first-light: (\d+) generator calls", done.stdout)
