"""Where the adoptions of a data root stand, as their journals say; what is unfinished closes it.

A member that has half of its files has a text that is paid for and not finished: others would have
it made again, or take it for a sample of its own. So whoever gives or takes content closes the
store first, and it stays closed after a crash, until an adoption or its undoing has finished.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import asdict

from genid_store.errors import Problem, StoreError
from genid_store.fs.files import check_inside
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import Block, block, root_lock, unblock
from genid_store.migration import state_folder as own
from genid_store.migration.journal import read_records

ADOPTION: Final = "adoption"
JOURNAL: Final = "journal.jsonl"

#: What closes the store, by the journal's last event; `done` and `undone` leave it open.
BLOCKS: Final = {
    "begin": Block(
        by=ADOPTION,
        reason="an adoption was begun and is not finished",
        remedy="`genid store adopt` finishes it, `genid store adopt --undo` takes it back",
    ),
    "undo": Block(
        by=ADOPTION,
        reason="taking an adoption back was begun and is not finished",
        remedy="`genid store adopt --undo` finishes it",
    ),
}


@contextmanager
def locked(root: DataRoot) -> Iterator[None]:
    """Hold the lock for adopting; afterwards the store is open, unless something is unfinished.

    StoreError: as `root_lock`; or a symbolic link leads `.genid/adoptions` out of the data root.
    """
    check_inside(root, root.own / "adoptions")
    own.make_own(root)
    with root_lock(root, ADOPTION):
        try:
            yield
        finally:
            if not any(unfinished(root)):
                unblock(root)


def close(root: DataRoot, event: str) -> None:
    """Let nobody else begin anything, also after this process has died."""
    block(root, **asdict(BLOCKS[event]))


def refuse_unfinished(root: DataRoot) -> None:
    """To be called by the lock's holder.

    StoreError: an adoption, or taking one back, stopped half-way; the store is closed then.
    """
    for folder, event in unfinished(root):
        close(root, event)
        raise refused(root, folder, event)


def refused(root: DataRoot, folder: Path, event: str) -> StoreError:
    """Return what to tell of the unfinished adoption in `folder`."""
    found = BLOCKS[event]
    problem = Problem(
        where=root.relative(folder / JOURNAL), message=found.reason, remedy=found.remedy
    )
    return StoreError(found.reason, [problem])


def unfinished(root: DataRoot) -> Iterator[tuple[Path, str]]:
    """Yield the folder and last event of what was begun and not finished; at most one."""
    for folder in folders(root):
        event = last_event(folder)
        if event is not None and event in BLOCKS:
            yield folder, event


def last_event(folder: Path) -> str | None:
    """Return where an adoption stands: begin, done, undo or undone; None: it was not begun.

    StoreError: its journal is damaged.
    """
    records, _ = read_records(folder / JOURNAL)
    return str(records[-1]["event"]) if records else None


def folders(root: DataRoot) -> list[Path]:
    """Return the folders of all adoptions, the oldest first."""
    folder = root.own / "adoptions"
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
