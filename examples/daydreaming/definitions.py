"""The example's Dagster definitions: `dagster dev -f examples/daydreaming/definitions.py`.

GENID_DATA_ROOT is the data root, else the copy of `data/` that `make demo` works on. The sensor
runs from the start, since the offline generator costs nothing.
"""

import os
import shutil
from pathlib import Path

import dagster as dg

from genid_dagster_adapter.definitions import build_definitions
from genid_store.generation.load import load_generator

_HERE = Path(__file__).resolve().parent
_COPY = _HERE.parents[1] / ".demo" / "data"


def data_root() -> Path:
    """Return the data root, made from the example's tables and templates if it is not there."""
    root = Path(os.environ.get("GENID_DATA_ROOT") or _COPY)
    if not root.exists():
        shutil.copytree(_HERE / "data", root)
    return root


defs = build_definitions(
    data_root=data_root(),
    generate=load_generator(f"{_HERE / 'host.py'}:offline"),
    automation="running",
    automation_interval=5,
    executor=dg.in_process_executor,  # a step of the default one imports Dagster anew
)
