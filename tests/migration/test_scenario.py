"""The whole way, with the commands alone: look, migrate, run in Dagster, and back."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from blake3 import blake3

from genid_dagster_adapter.partitions import register, registered
from genid_dagster_adapter.translator import stage_asset_name
from genid_store.cli import run
from migrationkit import differences, tree
from storekit import STAGES, Store, make_store

GENERATOR = """
from pathlib import Path
def generate(request):
    with open(Path(__file__).with_name("calls"), "a") as file:
        file.write(request.gen_id + "\\n")
    return "generated"
"""
CONTENT = ("prompt.txt", "raw.txt", "parsed.txt")


def _genid(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    """Run a command with --json; return its exit status and its document."""
    capsys.readouterr()
    status = run([*arguments, "--json"])
    out = capsys.readouterr().out
    return status, json.loads(out) if out else None


def _fill(store: Store) -> None:
    """Give every generation content, so that nothing is left to make."""
    for made in store.generations:
        path = store.path / made.folder / "parsed.txt"
        if not path.exists():
            path.write_text("filled\n")


def _record(instance: dg.DagsterInstance, store: Store) -> None:
    for stage in STAGES:
        members = [key for rows in store.cohorts.values() for of, key in rows if of == stage]
        register(instance, stage, members)
        for key in dict.fromkeys(members):
            event = dg.AssetMaterialization(stage_asset_name(stage), partition=key)
            instance.report_runless_asset_event(event)


def _partitions(instance: dg.DagsterInstance) -> dict[str, tuple[set[str], set[str]]]:
    found = {}
    for stage in STAGES:
        keys = set(registered(instance, stage))
        done = instance.get_materialized_partitions(dg.AssetKey(stage_asset_name(stage)))
        found[stage] = keys, keys & done
    return found


def _digests(root: Path) -> Counter[str]:
    paths = (path for name in CONTENT for path in (root / "gens").rglob(name))
    return Counter(blake3(path.read_bytes()).hexdigest() + path.name for path in paths)


def _codes(audit: Any) -> Counter[str]:
    return Counter(finding["code"] for finding in audit["findings"])


def _there_and_back(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    generations: int,
) -> None:
    store = make_store(tmp_path / "store", generations=generations)
    _fill(store)
    (store.path / ".genid").mkdir()  # the data root's own time changes when it is first made
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    (tmp_path / "generator.py").write_text(GENERATOR)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GENID_DATA_ROOT", str(store.path))
    before, digests = tree(store.path, inodes=True), _digests(store.path)
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        _record(instance, store)
        keys = _partitions(instance)
        audit = _genid(capsys, "store", "audit")[1]

        status, plan = _genid(capsys, "store", "migrate")
        assert (0, "planned") == (status, plan["state"])
        assert [] == differences(before, tree(store.path, inodes=True))

        status, done = _genid(capsys, "store", "migrate", "--execute", "--plan", plan["plan"])
        assert (0, "migrated") == (status, done["state"])
        assert done["moves"] > 0.8 * len(store.generations)
        assert 0 == _genid(capsys, "dagster", "sync", "--prune")[0]
        assert Counter() == _codes(_genid(capsys, "store", "audit")[1]) - _codes(audit)
        assert digests == _digests(store.path)

        _rerun(capsys, tmp_path, store)
        assert sum(map(len, (k for k, _ in _partitions(instance).values()))) == sum(
            len(k) for k, _ in keys.values()
        )
        old = [made.gen_id for made in store.generations if made.v1][::97]
        assert {0} == {_genid(capsys, "explain", one)[0] for one in old}

        status, back = _genid(capsys, "store", "rollback")
        assert (0, "rolled-back", []) == (status, back["state"], back["since"])
        assert 0 == _genid(capsys, "dagster", "sync", "--prune")[0]
        assert [] == differences(before, tree(store.path, inodes=True))
        assert keys == _partitions(instance)


def _rerun(capsys: pytest.CaptureFixture[str], tmp_path: Path, store: Store) -> None:
    """Run a legacy cohort and a mixed one again: 0 calls."""
    generator = f"{tmp_path}/generator.py:generate"
    for cohort in ("legacy-2024-01", "mixed-2026"):
        status, done = _genid(
            capsys, "cohort", "run", "--cohort-id", cohort, "--generate", generator
        )
        assert 0 == status, done
    assert not (tmp_path / "calls").exists()


def test_a_mixed_store_there_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Dry run, execute, audit, digests, a rerun in Dagster that calls nothing, rollback."""
    _there_and_back(tmp_path, monkeypatch, capsys, 200)


@pytest.mark.long
def test_five_thousand_generations_there_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same at the size of a real store."""
    _there_and_back(tmp_path, monkeypatch, capsys, 5000)
