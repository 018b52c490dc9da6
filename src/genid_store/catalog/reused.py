"""Our own record of the generations that were given the text of another id of their task.

One JSON file each, `.genid/reused/<stage>/<gen_id>.json`. A host that writes `metadata.json` again
drops `adopted_from`; this record stays. It also holds all that taking the text back needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from genid_store.errors import Problem, StoreError
from genid_store.fs.jsonfile import load_object, read_json
from genid_store.fs.layout import DataRoot, is_segment
from genid_store.fs.slots import forget_record, record_path, recorded_ids, write_record
from genid_store.stages import stage_names

_KIND: Final = "reused"


@frozen(kw_only=True)
class Reused:
    """One generation with the text of another: whose, its metadata.json as it was before, its
    folder's time of change (ns since 1970), and the BLAKE3 digest of each copied file."""

    stage: str
    gen_id: str
    source: str
    task: str
    metadata: str
    mtime_ns: int
    files: Mapping[str, str]


def record(root: DataRoot, reused: Reused) -> None:
    """Write the record, on disk when this returns. OSError, StoreError: it cannot be written."""
    write_record(root, _KIND, reused, durable=True)


def find(root: DataRoot, stage: str, gen_id: str) -> Reused | None:
    """Return the record of one generation, or None.

    StoreError: it cannot be read, or is not a record of ours.
    """
    path = record_path(root, _KIND, stage, gen_id)
    try:
        return _checked(path, Reused(**read_json(path)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        problem = Problem(
            where=root.relative(path),
            message=f"cannot be read: {error}",
            remedy="restore the file from a backup, or delete it: the copied text then stays",
        )
        raise StoreError("a record of a reused text cannot be used", [problem]) from error


def find_all(root: DataRoot) -> Iterator[Reused]:
    """Yield every record, stage by stage, in order of ids. StoreError: as `find`."""
    for stage in stage_names():
        for gen_id in recorded_ids(root, _KIND, stage):
            if (found := find(root, stage, gen_id)) is not None:
                yield found


def forget(root: DataRoot, reused: Reused) -> None:
    """Remove a record."""
    forget_record(root, _KIND, reused.stage, reused.gen_id)


def _checked(path: Path, found: Reused) -> Reused:
    """Return a record that can be used, and whose names cannot lead out of its folders.

    ValueError, TypeError, AttributeError: it is none.
    """
    names = (found.source, found.task, *found.files)
    load_object(found.metadata.encode())
    sound = (
        (found.stage, f"{found.gen_id}.json") == (path.parent.name, path.name)
        and all(map(is_segment, names))
        and type(found.mtime_ns) is int
        and 0 <= found.mtime_ns < 2**63
        and {type(one) for one in found.files.values()} <= {str}
    )
    if not sound:
        raise ValueError("it is not the record of this generation")
    return found
