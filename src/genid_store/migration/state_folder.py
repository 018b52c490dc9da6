"""What a migration does to the adapter's own records in `.genid/`, and whom it waits for."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from genid_store.errors import Problem, StoreError
from genid_store.fs.files import write_atomic
from genid_store.fs.layout import DataRoot
from genid_store.fs.leases import held, leases
from genid_store.migration import files
from genid_store.migration.context import Work
from genid_store.migration.planfile import JOURNAL_FILE, Plan
from genid_store.migration.state import open_plans, state_of
from genid_store.stages import PIPELINE

#: Room that is set aside so that going back can be recorded on a full disk.
RESERVE: Final = "reserve"
_RESERVED: Final = 1 << 18  # bytes
_POLL: Final = 0.2  # seconds between two looks at a generation that is being made
#: Seconds that an operation waits for generations being made before it gives up.
PATIENCE: Final = 3600.0
#: Seconds between two words in the log about what is waited for.
TELLING: Final = 30.0
_NAMED: Final = 5  # generations that one of them names
#: What to do about a migration that gave up waiting, in its state.
_GO_ON: Final = {
    "executing": "go on with `genid store migrate --resume`, or back with `genid store rollback`",
    "rolling-back": "go on with `genid store rollback`",
}
_LOG: Final = logging.getLogger(__name__)


def make_own(root: DataRoot) -> None:
    """Make `.genid/` where it is absent, without a trace in the data root's own times."""
    with contextlib.suppress(FileExistsError):
        before = os.stat(root.path)
        os.mkdir(root.own)
        os.utime(root.path, ns=(before.st_atime_ns, before.st_mtime_ns))


def reserve_room(plan: Plan) -> None:
    """Set room aside for the records of going back."""
    (plan.folder / RESERVE).write_bytes(bytes(_RESERVED))


def wait_for_makers(root: DataRoot, *, limit: float = PATIENCE) -> None:
    """Return when no generation is being made: those that began before the store was closed to
    others finish first (an answer under way is paid for).

    Says in the log what it waits for, at once and every `TELLING` seconds. May be interrupted like
    any other step.

    StoreError: some were still being made after `limit` seconds; names the command that goes on.
    """
    began = time.monotonic()
    told: float | None = None
    while busy := list(makers(root)):
        now = time.monotonic()
        if now - began >= limit:
            raise _still_made(root, busy, limit)
        if told is None or now - told >= TELLING:
            told = now
            more = f" and {len(busy) - _NAMED} more" if len(busy) > _NAMED else ""
            _LOG.warning(
                "waiting for generations that are being made: %s%s; interrupting is safe",
                ", ".join(busy[:_NAMED]),
                more,
            )
        time.sleep(_POLL)


def _still_made(root: DataRoot, busy: list[str], limit: float) -> StoreError:
    begun = [_GO_ON[state] for _, state in open_plans(root) if state in _GO_ON]
    go_on = begun[0] if begun else "run the same command again"
    problems = [
        Problem(
            where=root.relative(leases(root) / one),
            message=f"another process still makes it after {limit:.0f} s",
            remedy=f"end that process or let it finish, then {go_on}",
        )
        for one in busy
    ]
    return StoreError("generations are being made; nothing more was changed", problems)


def makers(root: DataRoot) -> Iterator[str]:
    """Yield `stage/task` of every task that some process holds a lease of now."""
    yield from (f"{stage}/{task}" for stage, task in held(root))


def drop_index(root: DataRoot) -> None:
    """Delete the store's index: a cache that the next reader builds again."""
    for name in ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm"):
        files.remove(str(root.own / name))


def carry_failures(work: Work) -> None:
    """Let the records of failed generations follow their generations to the new ids.

    Idempotent: what was there is written down first, and the outcome follows from that alone.
    """
    _carry(work, work.plan.folder / "failures.json", _pairs(work))


def carry_failures_back(work: Work, *, carried: bool) -> None:
    """Let them follow back to the old ids; `carried` says that all of them had been carried."""
    there = work.plan.folder / "failures.json"
    if carried:
        back = [(stage, new, old) for stage, old, new in _pairs(work)]
        _carry(work, work.plan.folder / "failures-back.json", back)
    elif there.exists():
        found = json.loads(there.read_bytes())
        halfway = {f"{stage}/{new}" for stage, _, new in _pairs(work)}
        _place(work, found, halfway)


def _pairs(work: Work) -> list[tuple[str, str, str]]:
    return [(step.stage, step.old, step.new) for step in work.steps if step.moves]


def _carry(work: Work, note: Path, pairs: list[tuple[str, str, str]]) -> None:
    folder = work.plan.root.own / "failures"
    if not note.exists():
        names = {stage: _names(folder / stage) for stage in PIPELINE}
        texts = {
            f"{stage}/{source}": _text(folder / stage / f"{source}.json")
            for stage, source, _ in pairs
            if f"{source}.json" in names[stage]
        }
        write_atomic(note, json.dumps(texts).encode())
    found = json.loads(note.read_bytes())
    moved = {
        f"{stage}/{target}": found[f"{stage}/{source}"].replace(f'"{source}"', f'"{target}"')
        for stage, source, target in pairs
        if f"{stage}/{source}" in found
    }
    _place(work, moved, set(found))


def _place(work: Work, records: dict[str, str], gone: set[str]) -> None:
    """Write the records and remove those of `gone` that are not among them."""
    folder = work.plan.root.own / "failures"
    for key, text in records.items():
        write_atomic(folder / f"{key}.json", text.encode(), durable=False)
    for key in sorted(gone - set(records)):
        files.remove(str(folder / f"{key}.json"))


def _names(folder: Path) -> set[str]:
    return set(os.listdir(folder)) if folder.is_dir() else set()


def _text(path: Path) -> str:
    return path.read_text("utf-8", "replace")


def retire_journal(plan: Plan) -> None:
    """Put the journal of an attempt that is over aside, so that the plan can be carried out anew
    (a store that was rolled back, or restored from a backup, comes to the same plan)."""
    if state_of(plan) not in ("rolled-back", "finalized"):
        return
    for name in ("failures.json", "failures-back.json", RESERVE):
        files.remove(str(plan.folder / name))
    shutil.rmtree(plan.folder / "originals", ignore_errors=True)
    number = sum(entry.name.startswith("journal-") for entry in os.scandir(plan.folder))
    os.rename(plan.journal, plan.folder / f"journal-{number + 1}.jsonl")


def journals(plan: Plan) -> list[Path]:
    """Return the journals of all attempts at a plan, the current one last."""
    older = sorted(plan.folder.glob("journal-*.jsonl"), key=lambda path: (len(path.name), path))
    current = plan.folder / JOURNAL_FILE
    return [*older, current] if current.exists() else older
