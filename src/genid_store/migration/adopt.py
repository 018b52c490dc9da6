"""Adopt content: members with deterministic ids get the content that the store has of their task.

The cautious way to reuse what is paid for: no generation is renamed, made or deleted. Content is
hard-linked (copied where the file system cannot link) and the member's metadata says whose it is,
under `adopted_from`. A child is adopted only where its parent's text is the one that the content
was made from. Everything is written down first, in `.genid/adoptions/`, so that an adoption that
was interrupted is finished by the next one, and the last one can be taken back. Until it is
finished the store is closed to others: a member that has half of its files would be paid for.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.metadata import ADOPTED_FROM
from genid_store.errors import Problem, StoreError
from genid_store.fs.files import check_inside, guarded
from genid_store.fs.layout import METADATA, PARSED, DataRoot
from genid_store.fs.locks import blocked, unblock
from genid_store.migration import files
from genid_store.migration import state_folder as own
from genid_store.migration.adoption_plan import Adoption, Taken, plan_adoption
from genid_store.migration.adoption_state import (
    BLOCKS,
    JOURNAL,
    close,
    folders,
    last_event,
    locked,
    refused,
    unfinished,
)
from genid_store.migration.cohort_files import own_records
from genid_store.migration.fingerprints import read_bytes
from genid_store.migration.journal import Journal
from genid_store.migration.references import dump_json
from genid_store.stages import PIPELINE, parent_stage

Progress = Callable[[int, int], None]


def adopt(
    root: DataRoot,
    *,
    cohort_id: str | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Adoption:
    """Give the members of deterministic cohorts, or of one, the content that their task has.

    With `dry_run` nothing is written. `progress` is called as (members done, members). While
    there is something to adopt no generation is begun by others; one that is being made is left.

    Raises:
        StoreError: the cohort has no readable membership; the data root is in use or cannot be
            written (an adoption that stopped half-way is finished by the next one); taking one back
            is not finished; or a symbolic link leads a member out of the data root (nothing is
            written then).
    """
    advance = progress or (lambda done, total: None)
    if dry_run:
        with guarded(root), StoreIndex.fresh(root, persist=False) as index:
            return plan_adoption(root, index, cohort_id)
    with guarded(root), locked(root):
        _finish_interrupted(root)
        with StoreIndex.fresh(root) as index:
            planned = plan_adoption(root, index, cohort_id)
            if planned.taken:
                close(root, "begin")
                planned = plan_adoption(root, index, cohort_id)  # some may be being made by now
        if not planned.taken:
            return planned
        check_inside(root, *(root.generation(one.stage, one.gen_id) for one in planned.taken))
        folder = _next_folder(root)
        with Journal(folder / JOURNAL) as journal:
            journal.append("begin", members=[_described(root, one) for one in planned.taken])
            _carry_out(root, folder, journal, advance)
        return Adoption(adoption_id=folder.name, taken=planned.taken, skipped=planned.skipped)


def undo(root: DataRoot) -> list[str]:
    """Take the last adoption back; return the members, as `stage/id`, that lost their content.

    What was changed since stays as it is, and so does the text of a member from which something was
    made since: without it nobody could tell what that was made from. A text that nothing else of
    the store has any more stays, too: it is what was paid for. Generations that are being
    made are waited for, and none is begun. [] where an adoption stopped before it gave anything.

    StoreError: there is none to take back, the data root is in use, a finished text waits to be
    put into its place, or generations were being made for too long (nothing is changed then).
    """
    with guarded(root), locked(root):
        if blocked(root) == BLOCKS["begin"] and not any(unfinished(root)):
            return []  # the one before was not asked for
        for folder in reversed(folders(root)):
            if last_event(folder) not in (None, "undone"):
                return _take_back(root, folder)
    remedy = "`genid store adopt` has to come first"
    problem = Problem(where=".genid/adoptions", message="there is none", remedy=remedy)
    raise StoreError("there is no adoption to take back", [problem])


# -- doing ----------------------------------------------------------------------------------------
def _next_folder(root: DataRoot) -> Path:
    numbers = [int(path.name) for path in folders(root) if path.name.isdecimal()]
    folder = root.own / "adoptions" / f"{max(numbers, default=0) + 1:05d}"
    (folder / "originals").mkdir(parents=True)
    return folder


def _described(root: DataRoot, one: Taken) -> dict[str, Any]:
    """Return all that taking a member back needs to know."""
    folder = root.generation(one.stage, one.gen_id)
    source = root.generation(one.stage, one.adopted_from)
    status = {name: os.lstat(source / name) for name in one.files}
    return {
        "stage": one.stage,
        "gen_id": one.gen_id,
        "from": one.adopted_from,
        "mtime_ns": os.stat(folder).st_mtime_ns,
        "files": {n: [s.st_ino, s.st_size, s.st_mtime_ns] for n, s in status.items()},
    }


def _finish_interrupted(root: DataRoot) -> None:
    for folder, event in list(unfinished(root)):
        if event == "undo":
            raise refused(root, folder, event)
        close(root, event)
        with Journal(folder / JOURNAL) as journal:
            _carry_out(root, folder, journal, lambda done, total: None)


def _carry_out(root: DataRoot, folder: Path, journal: Journal, progress: Progress) -> None:
    members = journal.records[0]["members"]
    (folder / "originals").mkdir(exist_ok=True)
    for number, member in enumerate(members):
        _carry_out_one(root, folder, number, member)
        progress(number + 1, len(members))
    _finish(root, journal, "done")


def _finish(root: DataRoot, journal: Journal, event: str) -> None:
    """Record the end. The block goes first: one that stayed would ask to finish what is over."""
    files.sync_filesystem(str(root.gens))
    unblock(root)
    journal.append(event)


def _carry_out_one(root: DataRoot, folder: Path, number: int, member: dict[str, Any]) -> None:
    target = str(root.generation(member["stage"], member["gen_id"]))
    source = str(root.generation(member["stage"], member["from"]))
    if not (os.path.isdir(target) and os.path.isdir(source)):
        return  # gone, or renamed by a migration, since an adoption that was interrupted
    path, kept = f"{target}/{METADATA}", f"{folder}/originals/{number}"
    files.keep(path, kept)
    files.write_new(path, _adopted(kept, member["from"]), kept, os.stat(kept))
    files.take_place(path)
    for name in _parsed_last(member):
        files.keep(f"{source}/{name}", f"{target}/{name}")


def _adopted(kept: str, source: str) -> bytes:
    return dump_json({**json.loads(read_bytes(kept)), ADOPTED_FROM: source})


# -- taking back ----------------------------------------------------------------------------------
def _take_back(root: DataRoot, folder: Path) -> list[str]:
    taken: list[str] = []
    close(root, "undo")
    own.wait_for_makers(root)  # what they make now may be made from an adopted text
    _refuse_waiting(root)
    with Journal(folder / JOURNAL) as journal:
        journal.append("undo")
        members = journal.records[0]["members"]
        used = _used(root, members)
        for number, member in reversed(list(enumerate(members))):
            target = str(root.generation(member["stage"], member["gen_id"]))
            if not os.path.isdir(target) or (member["stage"], member["gen_id"]) in used:
                continue  # a migration gave it another name; its content is its own now
            if not _is_replaced(root, member):
                taken.append(f"{member['stage']}/{member['gen_id']}")
            for path in list(_still_adopted(root, member)):
                files.remove(path)
            kept = f"{folder}/originals/{number}"
            if _is_unchanged(f"{target}/{METADATA}", kept, member["from"]):
                files.put_back(kept, f"{target}/{METADATA}")
                with suppress(PermissionError):  # the folder's owner alone may set its time
                    os.utime(target, ns=(os.stat(target).st_atime_ns, member["mtime_ns"]))
        _finish(root, journal, "undone")
    shutil.rmtree(folder / "originals", ignore_errors=True)
    return taken[::-1]


def _refuse_waiting(root: DataRoot) -> None:
    """Refuse while a killed run's texts wait for their places: what they were made from is needed,
    and nobody could tell."""
    problems = [
        Problem(where=one["path"], message=one["message"], remedy=one["remedy"])
        for one in own_records(root)
    ]
    if problems:
        raise StoreError("the adoption cannot be taken back yet", problems)


def _used(root: DataRoot, members: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Return the members from which a generation was made that keeps content.

    From below: an essay that an evaluation needs keeps its text, so its draft is needed too.
    """
    adopted = [(member["stage"], member["gen_id"]) for member in members]
    emptied = {
        key for key, one in zip(adopted, members, strict=True) if not _is_replaced(root, one)
    }
    used: set[tuple[str, str]] = set()
    with StoreIndex.fresh(root) as index:
        for above in reversed(PIPELINE):
            needed = {
                (stage, gen_id)
                for stage, gen_id in adopted
                if stage == parent_stage(above)
                for child in index.children(above, gen_id)
                if child.content is not None and (above, child.gen_id) not in emptied
            }
            used |= needed
            emptied -= needed
    return used


def _is_replaced(root: DataRoot, member: dict[str, Any]) -> bool:
    """Say whether a member has a file in the place of an adopted one that is not that one, or is
    all that is left of it."""
    target = str(root.generation(member["stage"], member["gen_id"]))
    there = [name for name in member["files"] if os.path.lexists(f"{target}/{name}")]
    return len(there) != len(list(_still_adopted(root, member)))


def _still_adopted(root: DataRoot, member: dict[str, Any]) -> Iterator[str]:
    """Yield the files of a member that are the adopted ones, `parsed.txt` last; none whose bytes
    are in no other place."""
    target = root.generation(member["stage"], member["gen_id"])
    source = root.generation(member["stage"], member["from"])
    for name in _parsed_last(member):
        inode, size, mtime_ns = member["files"][name]
        path = str(target / name)
        if not os.path.lexists(path):
            continue
        status = os.lstat(path)
        same = status.st_ino == inode or (status.st_size, status.st_mtime_ns) == (size, mtime_ns)
        if same and (status.st_nlink > 1 or _are_equal(path, str(source / name))):
            yield path


def _are_equal(mine: str, theirs: str) -> bool:
    return os.path.isfile(theirs) and read_bytes(mine) == read_bytes(theirs)


def _parsed_last(member: dict[str, Any]) -> list[str]:
    """Return the names of the adopted files. With `parsed.txt` there is content: it comes when the
    others are there, and goes when they are gone, so that no half looks like an answer to parse."""
    return sorted(member["files"], key=lambda name: (name == PARSED, name))


def _is_unchanged(path: str, kept: str, source: str) -> bool:
    """Say whether a member's metadata is as the adoption left it, not written yet or put back."""
    if not os.path.lexists(kept) or not os.path.lexists(path):
        return True
    return os.path.samefile(path, kept) or read_bytes(path) == _adopted(kept, source)
