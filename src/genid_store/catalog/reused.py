"""genid's own records of generations that reuse the text of another id of their task.

Each is one JSON file, `.genid/reused/<stage>/<gen_id>.json`. A host that rewrites `metadata.json`
loses `adopted_from`; this record survives. It also holds what is needed to take the text back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from genid_store.errors import StoreError
from genid_store.fs.files import is_there
from genid_store.fs.jsonfile import load_object, read_json
from genid_store.fs.layout import DataRoot, is_segment
from genid_store.fs.slots import forget_record, record_path, recorded_ids, write_record
from genid_store.stages import stage_names

_KIND: Final = "reused"


@frozen(kw_only=True)
class Reused:
    """One generation that has the text of `source`, another id of the same task.

    `metadata` is its metadata.json from before, `mtime_ns` its folder's modification time from
    before (ns since 1970), `files` the BLAKE3 digest of each copied file by its name.
    """

    stage: str
    gen_id: str
    source: str
    task: str
    metadata: str
    mtime_ns: int
    files: Mapping[str, str]


def record(root: DataRoot, reused: Reused) -> None:
    """Write a record durably: it is flushed to disk when this returns.

    OSError, StoreError: it cannot be written.
    """
    write_record(root, _KIND, reused, durable=True)


def find(root: DataRoot, stage: str, gen_id: str) -> Reused | None:
    """Return the record of one generation, None if it has none.

    StoreError: the record cannot be read, or is not valid.
    """
    path = record_path(root, _KIND, stage, gen_id)
    try:
        return _checked(path, Reused(**read_json(path)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        summary, message = "a record of a reused text cannot be used", f"cannot be read: {error}"
        remedy = "restore the file from a backup, or delete it: the copied text then stays"
        raise StoreError.of(summary, root.relative(path), message, remedy) from error


def find_all(root: DataRoot) -> Iterator[Reused]:
    """Yield every record, ordered by stage and id. StoreError: as `find`, unless there is no such
    generation: then some other file has the name of a record."""
    for stage in stage_names():
        for gen_id in recorded_ids(root, _KIND, stage):
            try:
                reused = find(root, stage, gen_id)
            except StoreError:
                if is_there(root.generation(stage, gen_id)):
                    raise
                continue
            if reused is not None:
                yield reused


def forget(root: DataRoot, reused: Reused) -> None:
    """Remove a record."""
    forget_record(root, _KIND, reused.stage, reused.gen_id)


def _checked(path: Path, reused: Reused) -> Reused:
    """Return the record if it is valid, and its names cannot lead out of their folders.

    ValueError, TypeError, AttributeError: it is not valid.
    """
    names = (reused.source, reused.task, *reused.files)
    load_object(reused.metadata.encode())
    valid = (
        (reused.stage, f"{reused.gen_id}.json") == (path.parent.name, path.name)
        and all(map(is_segment, names))
        and type(reused.mtime_ns) is int
        and 0 <= reused.mtime_ns < 2**63  # what os.utime takes
        and {type(digest) for digest in reused.files.values()} <= {str}
    )
    if not valid:
        raise ValueError("it is not the record of this generation")
    return reused
