"""Plans, journals and the index's files that are valid but for one field, the plan's digest made to
fit: one clear error or the right behaviour, and nothing outside the data root is touched."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from genid_store.catalog.index.query import StoreIndex
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import BUILD, blocked, root_lock
from genid_store.migration import run as migration
from genid_store.migration.swap import JOURNAL, open_migration
from hardening_kit import NASTY_TEXTS, attempt, fuzzed, json_values, tree
from migrationkit import tiny_store

WAYS: dict[str, Callable[[DataRoot], object]] = {
    "migrate": migration.migrate,
    "resume": migration.resume,
    "rollback": migration.rollback,
    "finish": migration.finish,
    "plan": migration.plan,
}
#: Where a path of a record may try to lead, from inside the data root.
PATHS = (
    "../outside", "../../outside/kept.txt", "gens/../../outside", "gens/draft/../../../outside",
    "/", ".", "", "..", ".genid", ".genid/blocked.json", "cohorts/c/membership.csv", "gens",
)  # fmt: skip
NUMBERS = (
    -1,
    0,
    2**63,
    2**64,
    10**400,
    0.5,
    1e308,
    float("nan"),
    float("inf"),
    True,
    "1",
    "1" * 5000,
)
values = json_values | st.sampled_from((*PATHS, *NUMBERS, *NASTY_TEXTS))


def mutated(data: st.DataObject, record: dict[str, Any]) -> bytes:
    """Draw the JSON of a record with one member, at any depth, of another type, missing, added,
    renamed or given twice."""
    found: dict[str, Any] = json.loads(json.dumps(record))
    spot: Any = found
    while inner := [one for one in _values(spot) if isinstance(one, dict | list) and one]:
        if data.draw(st.booleans()):
            break
        spot = data.draw(st.sampled_from(inner))
    keys = list(spot) if isinstance(spot, dict) else list(range(len(spot)))
    key = data.draw(st.sampled_from(keys))
    how = data.draw(st.sampled_from(["change"] * 3 + ["drop", "add", "rename", "twice"]))
    if how == "drop":
        del spot[key]
    elif how == "rename" and isinstance(spot, dict):
        spot[data.draw(st.sampled_from(NASTY_TEXTS) | st.sampled_from(PATHS))] = spot.pop(key)
    elif how == "add" and isinstance(spot, dict):
        spot["further"] = data.draw(values)
    elif how == "twice" and spot is found:
        again = json.dumps({key: data.draw(values)})
        return f"{again[:-1]}, {json.dumps(found, separators=(',', ':'))[1:]}".encode()
    else:
        spot[key] = data.draw(values)
    return json.dumps(found, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _values(spot: Any) -> list[Any]:
    return list(spot.values()) if isinstance(spot, dict) else list(spot)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A store that is planned, one that is migrated, and one in the middle of its exchange."""
    folder = tmp_path_factory.mktemp("stores")
    made = {name: tiny_store(folder / name) for name in ("planned", "migrated", "swapping")}
    migration.plan(DataRoot.open(made["planned"]))
    for name in ("migrated", "swapping"):
        migration.migrate(DataRoot.open(made[name]))
    [journal] = made["swapping"].glob(f".genid/migrations/*/{JOURNAL}")
    journal.write_text(journal.read_text().replace('"migrated"', '"swapping-back"'))
    return made


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the data root, which nothing may touch."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "kept.txt").write_text("kept")
    return folder


def copied(start: Path, tmp_path: Path) -> DataRoot:
    shutil.rmtree(tmp_path / "root", ignore_errors=True)
    return DataRoot.open(shutil.copytree(start, tmp_path / "root", symlinks=True))


def replant(root: DataRoot, line: int, record: bytes) -> None:
    """Put a record into a plan, whose folder is then the one that its new digest asks for."""
    [plan] = root.own.glob("migrations/*/plan.jsonl")
    lines = plan.read_bytes().splitlines()
    lines[line] = record
    plan.write_bytes(b"\n".join(lines) + b"\n")
    plan.parent.rename(plan.parent.with_name(blake3(plan.read_bytes()).hexdigest()[:16]))


def goes_on_or_is_refused(data: st.DataObject, root: DataRoot, outside: Path) -> None:
    """Try one of the ways; nothing beside the data root may change."""
    way = data.draw(st.sampled_from(sorted(WAYS)))
    _, error = attempt(StoreError, lambda: WAYS[way](root))
    assert error is None or error.problems
    assert {"kept.txt": b"kept"} == tree(outside)
    assert {"outside", "root"} == {one.name for one in outside.parent.iterdir()}


@fuzzed()
@given(data=st.data())
def test_a_plan_with_one_wrong_field(
    stores: dict[str, Path], outside: Path, tmp_path: Path, data: st.DataObject
) -> None:
    """A plan that somebody made up, digest and all, is carried out within the data root, or refused
    as one; never a traceback."""
    state = data.draw(st.sampled_from(sorted(stores)))
    root = copied(stores[state], tmp_path)
    [plan] = root.own.glob("migrations/*/plan.jsonl")
    records = [json.loads(line) for line in plan.read_bytes().splitlines()]
    at = data.draw(st.integers(0, len(records) - 1))
    replant(root, at, mutated(data, records[at]))
    goes_on_or_is_refused(data, root, outside)


@fuzzed()
@given(data=st.data())
def test_a_journal_with_one_wrong_field(
    stores: dict[str, Path], outside: Path, tmp_path: Path, data: st.DataObject
) -> None:
    """A journal that somebody changed is gone on with or refused; texts stay in the data root."""
    state = data.draw(st.sampled_from(["migrated", "swapping"]))
    root = copied(stores[state], tmp_path)
    [journal] = root.own.glob(f"migrations/*/{JOURNAL}")
    journal.write_bytes(mutated(data, json.loads(journal.read_bytes())))
    goes_on_or_is_refused(data, root, outside)


@fuzzed(share=0.5)
@given(data=st.data())
def test_what_says_who_works_here_with_one_wrong_field(
    stores: dict[str, Path], tmp_path: Path, data: st.DataObject
) -> None:
    """The note of a lock's holder is passed over; a block that cannot be made out blocks."""
    root = copied(stores["planned"], tmp_path)
    note = {"by": "another", "pid": 1, "host": "h", "since": "2026-01-01T00:00:00+00:00"}
    root.lock_note.write_bytes(mutated(data, note))
    with root_lock(root, BUILD):
        pass
    block = {"by": "migration", "reason": "r", "remedy": "m", "ways": ["resume()"]}
    root.barrier.write_bytes(mutated(data, block))
    _, error = attempt(StoreError, lambda: root_lock(root, BUILD).__enter__())
    assert error is not None
    assert error.problems
    _, error = attempt(StoreError, lambda: blocked(root))
    assert error is None or error.problems


@fuzzed(share=0.5)
@given(data=st.data())
def test_an_index_with_one_wrong_value(
    stores: dict[str, Path], tmp_path: Path, data: st.DataObject
) -> None:
    """The index is a cache: whatever its seal says, it answers as one that is made again does."""
    root = copied(stores["planned"], tmp_path)
    with StoreIndex.fresh(root) as index:
        expected = [one.gen_id for one in index.iter("draft")]
    seal = root.own / "index.use"
    record = {"seal": json.loads(seal.read_bytes())}
    changed = json.loads(mutated(data, record)).get("seal")
    seal.write_bytes(json.dumps(changed).encode())
    with StoreIndex.fresh(root) as index:
        assert expected == [one.gen_id for one in index.iter("draft")]
    assert open_migration(root) is None
