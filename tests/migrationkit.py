"""For the migration's tests: a small store with everything awkward, snapshots, and a kill switch.

`small_store` writes the same bytes and the same times every time, so that the trees of two runs can
be compared whole. `killed_at` stops a block at its n-th change to the disk and forbids every later
one, as `kill -9` would: no cleanup runs.
"""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

from storekit import legacy_id, phase_1_id, v1_id

TIME = 1_700_000_000_123_456_789  # ns; the first modification time, others follow one second apart
Tree = dict[str, tuple[Any, ...]]


# -- the store -------------------------------------------------------------------------------------
class Builder:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.members: dict[str, list[tuple[str, str]]] = {}

    def generation(
        self, stage: str, gen_id: str, cohort: str, *, content: bool = True, **fields: Any
    ) -> str:
        folder = self.root / "gens" / stage / gen_id
        folder.mkdir(parents=True)
        metadata = {"stage": stage, "gen_id": gen_id, "origin_cohort_id": cohort, **fields}
        (folder / "metadata.json").write_bytes(json.dumps(metadata, indent=2).encode())
        if content:
            parent = fields.get("parent_gen_id")
            (folder / "parsed.txt").write_text(f"text of {stage} {gen_id}\n")
            record = {
                "gen_id": gen_id,
                "parent_gen_id": parent,
                "note": "gens, not a path",
                "x": 1.50,
            }
            (folder / "raw_metadata.json").write_text(json.dumps(record) + "\n")
        self.members.setdefault(cohort, []).append((stage, gen_id))
        return gen_id

    def draft(self, gen_id: str, cohort: str = "one", **fields: Any) -> str:
        given = {"combo_id": "combo-a", "template_id": "dt", "llm_model_id": "m", "replicate": 1}
        return self.generation("draft", gen_id, cohort, **{**given, **fields})

    def essay(self, gen_id: str, parent: str, cohort: str = "one", **fields: Any) -> str:
        given = {"parent_gen_id": parent, "template_id": "et", "llm_model_id": "m", "replicate": 1}
        return self.generation("essay", gen_id, cohort, **{**given, **fields})

    def evaluation(self, gen_id: str, parent: str, cohort: str = "one", **fields: Any) -> str:
        given = {"parent_gen_id": parent, "template_id": "vt", "llm_model_id": "j", "replicate": 1}
        return self.generation("evaluation", gen_id, cohort, **{**given, **fields})


def small_store(root: Path) -> Path:
    """Write a data root with duplicates to depth 3, a chain, a cycle, stays, links and reports."""
    made = Builder(root)
    task = {"combo_id": "combo-a", "template_id": "dt", "llm_model_id": "m", "replicate": 1}
    first = made.draft(legacy_id("draft", "a__dt__m", "one"), "one")
    again = made.draft(legacy_id("draft", "a__dt__m", "two"), "two")
    for draft, cohort in ((first, "one"), (again, "two")):
        essay = made.essay(legacy_id("essay", f"{draft}__et", cohort), draft, cohort)
        made.evaluation(legacy_id("evaluation", f"{essay}__vt__j", cohort), essay, cohort)
        made.evaluation(legacy_id("evaluation", f"{essay}__vt__j", cohort, "rep3"), essay, cohort,
                        replicate="3")  # fmt: skip
    _cycle_and_chain(made)
    phase = {"combo_id": "combo-p", "template_id": "dt", "llm_model_id": "m", "replicate": 1}
    newer = made.draft(str(phase_1_id("draft", phase)), "two", combo_id="combo-p")
    made.essay("e_1hand", newer, "two", llm_model_id="other", content=False)
    right = made.draft(v1_id("draft", {**task, "combo_id": "combo-v"}), "two", combo_id="combo-v")
    made.essay("HAND-made.1", right, "two", template_id="et-2", adopted_from=essay)
    made.essay("0000000000000bad", "0000000000000000", "two")  # an orphan
    made.evaluation("00000000000stays", essay, "two", template_id=None)  # its parent moves
    _links(root, first, essay)
    _other_files(root, made, first, essay)
    _set_times(root)
    return root


def _cycle_and_chain(made: Builder) -> None:
    def named(combo: str, replicate: int) -> str:
        fields = {"combo_id": combo, "template_id": "dt", "llm_model_id": "m"}
        return v1_id("draft", {**fields, "replicate": replicate})

    made.draft(named("combo-c", 1), combo_id="combo-c", replicate=2)  # these two change places
    made.draft(named("combo-c", 2), combo_id="combo-c", replicate=1)
    made.draft(named("combo-d", 1), combo_id="combo-d", replicate=5)  # this one makes room ...
    made.draft("chained", combo_id="combo-d", replicate=1)  # ... for this one


def _links(root: Path, draft: str, essay: str) -> None:
    gens = root / "gens"
    (gens / "essay" / essay / "raw.txt").symlink_to(f"../../draft/{draft}/parsed.txt")
    os.link(gens / "draft" / draft / "parsed.txt", gens / "draft" / draft / "prompt.txt")
    inner = gens / "draft" / draft / "attempts" / "1"
    inner.mkdir(parents=True)
    (inner / "raw.txt").write_text("first try")
    (inner / "self").symlink_to(f"../../../{draft}/parsed.txt")
    (gens / "essay" / "emptied").mkdir()
    (gens / "draft" / "notes.txt").write_text("no generation")


def _other_files(root: Path, made: Builder, draft: str, essay: str) -> None:
    for cohort, members in made.members.items():
        folder = root / "cohorts" / cohort
        folder.mkdir(parents=True)
        rows = "".join(f"{stage},{gen_id}\n" for stage, gen_id in members)
        (folder / "membership.csv").write_text(f"stage,gen_id\n{rows}")
        (folder / "manifest.json").write_text(json.dumps({"combos": ["combo-a"]}, indent=2))
    (root / "2_tasks").mkdir()
    (root / "2_tasks" / "selected_essays.txt").write_text(f"# mine\n\n  {essay}  \nunknown\n")
    (root / "reports").mkdir()
    (root / "reports" / "scores.csv").write_text(f"draft,score\n{draft},7\n")
    (root / "reports" / "latest").symlink_to(f"../gens/draft/{draft}/parsed.txt")
    failures = root / ".genid" / "failures" / "essay"
    failures.mkdir(parents=True)
    (failures / "e_1hand.json").write_text('{"stage": "essay", "gen_id": "e_1hand", "reason": "x"}')


def _set_times(root: Path) -> None:
    places = sorted(root.rglob("*"), key=lambda path: (-len(path.parts), str(path)))
    for number, path in enumerate([*places, root]):
        if ".genid" not in path.parts:
            when = TIME + number * 1_000_000_000
            os.utime(path, ns=(when, when), follow_symlinks=False)
            if path.is_file() and not path.is_symlink() and number % 3 == 0:
                path.chmod(0o640)


# -- snapshots -------------------------------------------------------------------------------------
def tree(root: Path, *, inodes: bool = False) -> Tree:
    """Return every entry below `root`, `.genid/` aside: mode, time, bytes or target."""
    found: Tree = {}
    for folder, names, files in os.walk(root):
        if folder == str(root) and ".genid" in names:
            names.remove(".genid")
        for path in (Path(folder), *(Path(folder, name) for name in names + files)):
            status = path.lstat()
            entry: tuple[Any, ...] = (stat.filemode(status.st_mode), status.st_mtime_ns)
            if path.is_symlink():
                entry += (os.readlink(path),)
            elif path.is_file():
                entry += (path.read_bytes(),)
            if inodes and not path.is_dir():
                entry += (status.st_ino, status.st_nlink)
            found[str(path.relative_to(root))] = entry
    return found


def failures(root: Path) -> dict[str, str]:
    """Return the adapter's records of failed generations, by path."""
    folder = root / ".genid" / "failures"
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*.json"))}


def differences(expected: Tree, found: Tree) -> list[str]:
    """Return the places at which two trees differ, for messages."""
    return sorted(
        f"{place}: {expected.get(place)!r:.200} became {found.get(place)!r:.200}"
        for place in {*expected, *found}
        if expected.get(place) != found.get(place)
    )


# -- the kill switch -------------------------------------------------------------------------------
class KilledError(BaseException):
    """The process is dead: nothing catches this but the test."""


_CHANGES = [
    "link",
    "symlink",
    "replace",
    "rename",
    "unlink",
    "rmdir",
    "mkdir",
    "utime",
    "ftruncate",
    "write",
    "fchmod",
    "chmod",
]


class Switch:
    """Counts changes to the disk; at the n-th it fails, and with `for_ever` at all after it."""

    def __init__(
        self, at: int | None, error: Callable[[], BaseException], *, for_ever: bool
    ) -> None:
        self.count, self.at, self.error, self.for_ever = 0, at, error, for_ever
        self.tripped = False

    def step(self) -> bool:
        """Return whether this change must fail."""
        if self.tripped:
            return self.for_ever
        self.count += 1
        self.tripped = self.count == self.at
        return self.tripped


def _guard(switch: Switch, real: Callable[..., Any], name: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if args and _is_of_the_lock(args[0]):
            return real(*args, **kwargs)  # so that the lock itself is let go of, as by the kernel
        if switch.step():
            if name == "write" and len(args[1]) > 1:
                real(args[0], args[1][: len(args[1]) // 2])  # a torn write
            raise switch.error()
        return real(*args, **kwargs)

    return call


def _is_of_the_lock(place: Any) -> bool:
    """Tell whether a path or a descriptor is the lock's, which versions of filelock treat apart."""
    if type(place) is int:
        with suppress(OSError):
            return os.readlink(f"/proc/self/fd/{place}").endswith(".genid/lock")
    return str(place).endswith("lock-holder.json")


def _guard_open(switch: Switch, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(file: Any, mode: Any = "r", *args: Any, **kwargs: Any) -> Any:
        writes = (
            bool(mode & (os.O_CREAT | os.O_TRUNC)) if type(mode) is int else set(mode) & set("wax+")
        )
        if writes and not str(file).endswith(".genid/lock") and switch.step():
            raise switch.error()
        return real(file, mode, *args, **kwargs)

    return call


@contextmanager
def _switched(switch: Switch) -> Iterator[Switch]:
    with (
        mock.patch.dict(
            os.__dict__, {name: _guard(switch, getattr(os, name), name) for name in _CHANGES}
        ),
        mock.patch.object(os, "open", _guard_open(switch, os.open)),
        mock.patch.object(builtins, "open", _guard_open(switch, builtins.open)),
        mock.patch.object(io, "open", _guard_open(switch, io.open)),
    ):
        yield switch


@contextmanager
def killed_at(change: int | None) -> Iterator[Switch]:
    """Run a block that is killed at its n-th change to the disk; None counts the changes only."""
    with _switched(Switch(change, KilledError, for_ever=True)) as switch, suppress(KilledError):
        yield switch


@contextmanager
def full_disk_at(change: int) -> Iterator[Switch]:
    """Run a block in which the n-th change to the disk finds no room."""
    error = lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: E731
    with _switched(Switch(change, error, for_ever=False)) as switch:
        yield switch
