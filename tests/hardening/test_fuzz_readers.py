"""Every reader of a data root against every kind of file that stands where one belongs.

Links that dangle, go in circles or lead to folders, pipes, sockets, devices, folders, files of two
gigabytes; byte order marks, UTF-16, carriage returns, NUL, repeated keys, escapes, huge cells. A
reader returns or refuses with a StoreError, at once, and writes nothing.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cohort_kit import make_root
from genid_store.catalog import reused
from genid_store.catalog.audit.audit import audit
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.memberships import read_membership, read_memberships
from genid_store.catalog.metadata import inspect_generation
from genid_store.catalog.recorded import read_recorded
from genid_store.catalog.renamed import read_renamed
from genid_store.cohort.inputs.combos import read_catalogue, read_selected
from genid_store.cohort.inputs.selection import read_selection
from genid_store.cohort.inputs.tables import provider_models, read_tables
from genid_store.config import read_config
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.fs.leases import held
from genid_store.fs.locks import blocked, holder
from genid_store.generation import failures
from genid_store.generation.batches import open_batches, refuse_unreadable
from genid_store.migration.swap import open_migration
from hardening_kit import IN_ITS_PLACE, attempt, damaged, fuzzed, tree


def index(root: DataRoot) -> int:
    with StoreIndex.fresh(root, persist=False) as found:
        return len(list(found.iter("draft")))


def audited(root: DataRoot) -> int:
    with StoreIndex.fresh(root, persist=False) as found:
        return len(audit(found).findings)


def open_and_refused(root: DataRoot) -> None:
    open_batches(root)
    refuse_unreadable(root)


#: A file's place and what reads it.
READERS: dict[str, Callable[[DataRoot], object]] = {
    "1_raw/draft_templates.csv": read_tables,
    "1_raw/concepts_metadata.csv": read_tables,
    "1_raw/llm_models.csv": lambda root: (read_tables(root), provider_models(root)),
    "1_raw/replication_config.csv": read_tables,
    "2_tasks/selected_combo_mappings.csv": read_selected,
    "2_tasks/selected_essays.txt": read_selection,
    "2_tasks/selected_drafts.txt": read_selection,
    "combo_mappings.csv": read_catalogue,
    "genid.toml": read_config,
    "cohorts/c/membership.csv": lambda root: (read_membership(root, "c"), read_memberships(root)),
    "cohorts/c/manifest.json": lambda root: read_recorded(root, "c"),
    "gens/draft/d/metadata.json": lambda root: (
        inspect_generation(root, "draft", "d"),
        index(root),
    ),
    "gens/draft/d/raw_metadata.json": audited,
    "gens/draft/d/parsed_metadata.json": audited,
    "gens/draft/d/parsed.txt": audited,
    ".genid/index.sqlite": index,
    ".genid/index.use": index,
    ".genid/batches/k.json": open_and_refused,
    ".genid/leases/draft/t.txt": held,
    ".genid/renamed/m.csv": read_renamed,
    ".genid/migrations/m/plan.jsonl": open_migration,
    ".genid/migrations/m/swap.json": open_migration,
    ".genid/blocked.json": blocked,
    ".genid/lock-holder.json": holder,
    ".genid/reused/draft/d.json": lambda root: reused.find(root, "draft", "d"),
    ".genid/failures/draft/d.json": lambda root: failures.read(root, "draft", "d"),
}
SOUND = {
    "csv": b"stage,gen_id\ndraft,d\n",
    "json": b'{"stage": "draft", "gen_id": "d", "replicate": 1, "rollout": {"stages": []}}',
    "txt": b"# mode: evaluation-only\nessay1\n",
    "jsonl": b'{"format": 1, "plan_id": "m"}\n{}\n',
    "sqlite": b"SQLite format 3\0",
    "use": b"[1, 4096, 1, 1, 1]",
    "toml": b'[rollout]\nstages = "on"\n',
}
HOSTILE = (
    "\x1b[31m", "\x1b]52;c;eA==\x07", "\u202e", "\r", "\r\n", "\0", "\ufeff", "\u2028", '"', ",",
    ";", "x" * 140_000, "é" * 127, "a" * 255, "\x85",
)  # fmt: skip


@st.composite
def contents(draw: st.DrawFn, suffix: str) -> bytes:
    """Draw the bytes of a file: damaged, in another encoding, with hostile cells or keys."""
    data: bytes = draw(damaged(SOUND[suffix]) | st.just(SOUND[suffix]))
    text = data.decode("utf-8", "replace")
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(HOSTILE)) + text[at:]
    if suffix == "json" and draw(st.booleans()):
        key = json.dumps(draw(st.sampled_from(["gen_id", *HOSTILE])))
        space = draw(st.sampled_from(["", " ", "\n\t", "\r"]))
        text = f"{{{key}: 1, {key}{space}: {text or 2}}}"
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"]))
    return text.encode(encoding, "replace")


@given(data=st.data())
@fuzzed(share=3)
def test_a_reader_returns_or_refuses(data: st.DataObject) -> None:
    """Whatever stands at its place, and with every right to it or none."""
    folder = Path(tempfile.mkdtemp())
    try:
        root = make_root(folder)
        name = data.draw(st.sampled_from(sorted(READERS)))
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if data.draw(st.booleans()):
            data.draw(st.sampled_from(IN_ITS_PLACE))(path)
        else:
            path.write_bytes(data.draw(contents(name.rpartition(".")[2])))
            path.chmod(data.draw(st.sampled_from([0o644, 0o444, 0])))
        names = sorted(str(found) for found in folder.rglob("*"))
        result, error = attempt(StoreError, lambda: READERS[name](root))
        assert names == sorted(str(found) for found in folder.rglob("*"))
        assert error is None or error.problems, result
    finally:
        shutil.rmtree(folder)


@given(
    name=st.text(st.sampled_from("aé\u202e\x1b -."), min_size=1, max_size=120), longer=st.booleans()
)
@fuzzed()
def test_a_folder_of_any_name_is_looked_at(name: str, longer: bool) -> None:
    """Names of up to 255 bytes of any characters, where cohorts and generations are."""
    folder = Path(tempfile.mkdtemp())
    try:
        encoded = os.fsencode(name * (3 if longer else 1))[:255].decode(errors="ignore")
        if encoded in (".", ".."):
            return
        for place in ("cohorts", "gens/draft"):
            (folder / place / encoded).mkdir(parents=True)
        root = DataRoot.open(folder)
        before = tree(folder)
        read_memberships(root)
        index(root)
        assert before == tree(folder)
    finally:
        shutil.rmtree(folder)
