"""For the migration's tests: stores with everything awkward, snapshots, and kill switches.

`small_store` and `tiny_store` write the same bytes and the same times every time, so that the trees
of two runs can be compared whole. `killed_after` runs a function in a process of its own that ends
itself by SIGKILL after its n-th change to the disk; `refusing` lets the n-th one fail.
"""

from __future__ import annotations

import builtins
import io
import json
import multiprocessing
import os
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

from genid_store.errors import StoreError
from genid_store.fs import trees
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


def tiny_store(root: Path) -> Path:
    """Write a data root with one of each: a duplicate, an empty slot, a child, what stays, a link,
    a file that two generations share, a failure, a selection and a table of the host's."""
    made = Builder(root)
    task = {"combo_id": "combo-a", "template_id": "dt", "llm_model_id": "m", "replicate": 1}
    first = made.draft(legacy_id("draft", "a__dt__m", "one"), "one")
    again = made.draft(legacy_id("draft", "a__dt__m", "two"), "two")
    made.draft(v1_id("draft", task), "three", content=False)
    essay = made.essay(legacy_id("essay", f"{first}__et", "one"), first, "one")
    made.essay("unmade", again, "two", content=False)
    made.evaluation("stays", essay, "one", template_id=None)
    (root / "gens/essay" / essay / "raw.txt").symlink_to(f"../../draft/{first}/parsed.txt")
    os.link(root / "gens/draft" / first / "parsed.txt", root / "gens/draft" / again / "raw.txt")
    _other_files(root, made, first, essay)
    (root / ".genid/failures/essay/e_1hand.json").rename(root / ".genid/failures/essay/unmade.json")
    (root / ".genid/failures/essay/unmade.json").write_text(
        '{"stage": "essay", "gen_id": "unmade"}'
    )
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
                entry += (status.st_ino,)
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


# -- calls that change the disk --------------------------------------------------------------------
_CALLS = [
    "link", "symlink", "replace", "rename", "unlink", "rmdir", "mkdir", "utime", "ftruncate",
    "write", "fchmod", "fchown", "chmod", "setxattr", "fsync",
]  # fmt: skip
_FORK = multiprocessing.get_context("fork")
Act = Callable[[Callable[[], Any], Callable[[], None]], Any]


@contextmanager
def _watched(act: Act) -> Iterator[None]:
    """Give every call that changes the disk to `act`, with a function that makes half a change."""

    def wrap(real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if args and _is_of_the_lock(args[0]):
                return real(*args, **kwargs)
            half: Callable[[], None] = lambda: None  # noqa: E731
            if name == "write" and len(args[1]) > 1:
                half = lambda: real(args[0], args[1][: len(args[1]) // 2])  # noqa: E731
            return act(lambda: real(*args, **kwargs), half)

        return call

    def wrap_open(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(file: Any, mode: Any = "r", *args: Any, **kwargs: Any) -> Any:
            writes = (
                mode & (os.O_CREAT | os.O_TRUNC) if type(mode) is int else set(mode) & set("wax+")
            )
            if not writes or _is_of_the_lock(file):
                return real(file, mode, *args, **kwargs)
            return act(lambda: real(file, mode, *args, **kwargs), lambda: None)

        return call

    with (
        mock.patch.dict(os.__dict__, {name: wrap(getattr(os, name), name) for name in _CALLS}),
        mock.patch.object(os, "open", wrap_open(os.open)),
        mock.patch.object(builtins, "open", wrap_open(builtins.open)),
        mock.patch.object(io, "open", wrap_open(io.open)),
        mock.patch.object(trees, "exchange", wrap(trees.exchange, "renameat2")),
        mock.patch.object(trees, "sync_filesystem", wrap(trees.sync_filesystem, "syncfs")),
    ):
        yield


def _is_of_the_lock(place: Any) -> bool:
    """Tell whether a path or a descriptor is the lock's, which versions of filelock treat apart."""
    if type(place) is int:
        with suppress(OSError):
            return os.readlink(f"/proc/self/fd/{place}").endswith(".genid/lock")
    return str(place).endswith((".genid/lock", "lock-holder.json"))


def count_calls(work: Callable[[], object]) -> int:
    """Return how many calls that change the disk `work` makes."""
    count = 0

    def act(real: Callable[[], Any], half: Callable[[], None]) -> Any:
        nonlocal count
        count += 1
        return real()

    with _watched(act):
        work()
    return count


def in_a_process(work: Callable[[], object]) -> Any:
    """Start `work` in a child; its exit status is 0, `REFUSED`, or minus the signal."""

    def child() -> None:
        try:
            work()
        except StoreError:
            os._exit(REFUSED)
        os._exit(0)

    process = _FORK.Process(target=child)
    process.start()
    return process


REFUSED = 7


def killed_after(point: int, work: Callable[[], object]) -> bool:
    """Run `work` in a child that kills itself after its n-th call that changes the disk (a write
    is torn); return whether it got that far."""

    def doomed() -> None:
        count = 0

        def act(real: Callable[[], Any], half: Callable[[], None]) -> Any:
            nonlocal count
            count += 1
            if count != point:
                return real()
            with suppress(OSError):
                (half if point % 2 else real)()  # every other time the call does not happen
            os.kill(os.getpid(), signal.SIGKILL)
            return None

        with _watched(act):
            work()

    process = in_a_process(doomed)
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return bool(process.exitcode)


@contextmanager
def refusing(point: int, code: int, *, for_ever: bool = False) -> Iterator[None]:
    """Run a block in which the n-th call that changes the disk is refused, and with `for_ever` all
    after it."""
    count = 0

    def act(real: Callable[[], Any], half: Callable[[], None]) -> Any:
        nonlocal count
        count += 1
        if count == point or (for_ever and count > point):
            half()
            raise OSError(code, os.strerror(code))
        return real()

    with _watched(act):
        yield
