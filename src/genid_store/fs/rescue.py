"""Keep a text that came and cannot be stored in a temporary folder, until a run takes it up.

Each has a folder of its own, `genid-<store>-<random>`, with a note of whose text it is. `<store>`
follows from a file that is in the data root before anything is paid for: it goes where the root is
moved or copied to, and no other root has it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attrs import frozen
from blake3 import blake3

from genid_store.fs.files import create_exclusive, is_there, read_bytes, write_new
from genid_store.fs.jsonfile import read_json
from genid_store.fs.layout import PARSED, RAW, DataRoot, is_segment
from genid_store.stages import stage_names

#: Where texts are kept and looked for wherever TMPDIR points; the first outlives a restart.
USUAL: Final = ("/var/tmp", "/tmp")  # noqa: S108 - mkdtemp makes the names
_NOTE: Final = "rescued.json"


@frozen(kw_only=True)
class Rescued:
    """A text that is kept in the folder `path`, and the digest of the parent's text that it was
    made from (None: of none)."""

    path: Path
    stage: str
    gen_id: str
    made_from: str | None


def name_store(root: DataRoot) -> str:
    """Return what a data root's texts are known by, which is made up once. OSError: it cannot be
    written or read."""
    path = root.own / "store"
    if not is_there(path):
        create_exclusive(path, f"{secrets.token_hex(16)}\n".encode(), durable=True)
    return blake3(read_bytes(path)).hexdigest(8)


def rescue(
    store: str, stage: str, gen_id: str, made_from: str | None, files: Mapping[str, bytes]
) -> str:
    """Keep the files of a text of `store`, `raw.txt` last, in the first temporary folder that takes
    them; return what has become of it, in words."""
    note = {"stage": stage, "gen_id": gen_id, "made_from": made_from}
    wanted = {_NOTE: json.dumps(note).encode(), **files}
    for place in _places():
        with contextlib.suppress(OSError):  # the next one may take it
            kept = tempfile.mkdtemp(prefix=f"genid-{store}-", dir=place)
            try:
                for name in sorted(wanted, key=RAW.__eq__):
                    write_new(f"{kept}/{name}", wanted[name], durable=True)
            except OSError:
                shutil.rmtree(kept, ignore_errors=True)
                raise
            return f"the next run takes the text from {kept}"
    return "the text that came is lost, since no temporary folder takes it either"


def rescued(root: DataRoot) -> list[Rescued]:
    """Return the texts of a data root that are kept in temporary folders and have no place yet.
    OSError: what they are known by cannot be read."""
    if not is_there(root.own / "store"):
        return []
    prefix = f"genid-{name_store(root)}-"
    found = []
    for place in _places():
        with contextlib.suppress(OSError):  # there is no such folder
            names = sorted(name for name in os.listdir(place) if name.startswith(prefix))
            found += [_read(root, Path(place, name)) for name in names]
    return [one for one in found if one is not None]


def _places() -> list[str]:
    places = [*USUAL]
    with contextlib.suppress(FileNotFoundError):  # none can be written
        places.append(tempfile.gettempdir())
    return list(dict.fromkeys(places))


def _read(root: DataRoot, path: Path) -> Rescued | None:
    """Return what a folder of our own keeps; None: nothing whole, or the text has its place."""
    try:
        state = path.lstat()
        if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid():
            return None
        one = Rescued(path=path, **read_json(path / _NOTE))
    except (OSError, ValueError, TypeError):
        return None
    if one.stage not in stage_names() or not is_segment(one.gen_id):
        return None
    waits = is_there(path / RAW) and not is_there(root.generation(one.stage, one.gen_id) / PARSED)
    return one if waits else None
