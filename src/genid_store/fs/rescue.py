"""Keep an answer that cannot be stored in a temporary folder, from which the next run takes it.

Each text has its own folder, `genid-<store>-<random>`, with a note of which generation it is of.
`<store>` is the hash of a random file that is in the data root before anything is paid for, so it
moves with the root and no other root has it.
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

from genid_store.fs.files import create_exclusive, is_there, read_bytes, sync_folder, write_new
from genid_store.fs.jsonfile import read_json
from genid_store.fs.layout import PARSED, RAW, DataRoot, is_segment
from genid_store.stages import stage_names

#: Where texts are kept and found whatever TMPDIR is. The first survives a reboot.
USUAL: Final = ("/var/tmp", "/tmp")  # noqa: S108 - mkdtemp makes the names
_NOTE: Final = "rescued.json"


@frozen(kw_only=True)
class Rescued:
    """A text kept in the folder `path`; `made_from` is the digest of its parent's text, if any."""

    path: Path
    stage: str
    gen_id: str
    made_from: str | None


def name_store(root: DataRoot) -> str:
    """Return the name of a data root in `genid-<store>-…`, chosen at random the first time.

    OSError: it cannot be written or read.
    """
    path = root.own / "store"
    if not is_there(path):
        create_exclusive(path, f"{secrets.token_hex(16)}\n".encode())
    return blake3(read_bytes(path)).hexdigest(8)


def rescue(
    store: str, stage: str, gen_id: str, made_from: str | None, files: Mapping[str, bytes]
) -> str:
    """Write the files of a text of `store` to the first temporary folder in which that succeeds.

    Return a clause for the error message that says what became of the text.
    """
    note = {"stage": stage, "gen_id": gen_id, "made_from": made_from}
    contents = {_NOTE: json.dumps(note).encode(), **files}
    for place in _places():
        with contextlib.suppress(OSError):  # try the next one
            folder = tempfile.mkdtemp(prefix=f"genid-{store}-", dir=place)
            try:
                # `raw.txt` gets its name last: a run takes only folders that have it (`_read`).
                for name in sorted(contents, key=RAW.__eq__):
                    write_new(f"{folder}/.{name}", contents[name], durable=True)
                    os.rename(f"{folder}/.{name}", f"{folder}/{name}")
                sync_folder(folder)
            except OSError:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            return f"the next run takes the text from {folder}"
    return "the text is lost, because no temporary folder can hold it either"


def rescued(root: DataRoot) -> list[Rescued]:
    """Return a data root's texts that are kept in temporary folders and not yet in the store.

    OSError: the root's name cannot be read.
    """
    if not is_there(root.own / "store"):
        return []
    prefix = f"genid-{name_store(root)}-"
    texts = []
    for place in _places():
        with contextlib.suppress(OSError):  # the folder does not exist
            names = sorted(name for name in os.listdir(place) if name.startswith(prefix))
            texts += [_read(root, Path(place, name)) for name in names]
    return [text for text in texts if text is not None]


def _places() -> list[str]:
    places = [*USUAL]
    with contextlib.suppress(FileNotFoundError):  # no temporary folder is writable
        places.append(tempfile.gettempdir())
    return list(dict.fromkeys(places))


def _read(root: DataRoot, path: Path) -> Rescued | None:
    """Return the text in a folder, or None if it is incomplete or already in the store."""
    try:
        # Anyone may create files in a temporary folder: only this user's own folders are trusted.
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            return None
        text = Rescued(path=path, **read_json(path / _NOTE))
    except (OSError, ValueError, TypeError):
        return None
    if text.stage not in stage_names() or not is_segment(text.gen_id):
        return None
    stored = root.generation(text.stage, text.gen_id) / PARSED
    return text if is_there(path / RAW) and not is_there(stored) else None
