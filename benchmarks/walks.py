"""Walks of a store that only look: what the index and the cohort build are held against."""

import json
import os

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
