"""Walks of a store that only look: what the index and the cohort build are held against."""

import json
import os
from typing import Any

from genid import PHASE_1, STAGES, V1
from genid_store.fs.layout import METADATA, DataRoot
from genid_store.stages import PIPELINE


def read_all(root: DataRoot) -> int:
    """Read and parse every metadata file."""
    done = 0
    for stage in PIPELINE:
        folder = os.fspath(root.stage(stage))
        with os.scandir(folder) as entries:
            for entry in entries:
                with open(f"{folder}/{entry.name}/{METADATA}", "rb") as file:
                    json.loads(file.read())
                done += 1
    return done


def derive_all(root: DataRoot) -> int:
    """Read and parse every metadata file, and derive the two ids of its fields as written."""
    done = 0
    for stage in PIPELINE:
        folder, cls = os.fspath(root.stage(stage)), STAGES[stage]
        names = [name for name in cls.__annotations__ if (stage, name) != ("essay", "llm_model_id")]
        with os.scandir(folder) as entries:
            for entry in entries:
                with open(f"{folder}/{entry.name}/{METADATA}", "rb") as file:
                    found = json.loads(file.read())
                signature: Any = cls(**{name: found[name] for name in names})
                V1.derive(signature)
                PHASE_1.derive(signature)
                done += 1
    return done


def stat_all(root: DataRoot) -> int:
    """Stat every metadata file."""
    done = 0
    for stage in PIPELINE:
        folder = os.fspath(root.stage(stage))
        with os.scandir(folder) as entries:
            for entry in entries:
                os.stat(f"{folder}/{entry.name}/{METADATA}")
                done += 1
    return done
