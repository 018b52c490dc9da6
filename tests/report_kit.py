"""What the tests of the report share: reports at a fixed time, and a store full of hostile text."""

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from genid_store.fs.layout import DataRoot
from genid_store.ids.rollout import FLAG
from genid_store.report.collect import Report, gather


def report_on(path: Path, flag: str = "off") -> Report:
    """Return the report on a data root, at a fixed time."""
    return gather(DataRoot.open(path), environ={FLAG: flag}, version="0", made_at="today")


#: Text that would run, load or mislead where it is not escaped.
HOSTILE = (
    "<script>window.pwned=1</script>",
    "\"'><img src=x onerror=\"window.pwned=1\">",
    "{{ 7*7 }}<svg/onload=window.pwned=1>",
    "\u202egnp.exe<b>\u0000\u0007</b>",
    "=HYPERLINK(\"http://x.invalid\",\"<script>window.pwned=1</script>\")",
)  # fmt: skip
#: Names that a file can have and a generation's folder cannot; one is no Unicode text.
_NAMES = (b"<img src=x onerror=window.pwned=1>", b"'><script>window.pwned=1<", b"bad-\xff\xfe<b>")


def hostile_store(path: Path) -> Path:
    """Write a data root with hostile text in every field, cell and name that can hold one."""
    for at, text in enumerate(HOSTILE):
        draft, essay, evaluation = f"draft-{at}", f"essay-{at}", f"evaluation-{at}"
        common = {
            "origin_cohort_id": text,
            "mode": text,
            "template_id": text,
            "combo_id": text,
            "llm_model_id": text,
            "replicate": 1,
            text: text,
        }
        _generation(path, "draft", draft, {**common, "gen_id": text})
        _generation(path, "essay", essay, {**common, "gen_id": essay, "parent_gen_id": draft})
        _generation(path, "evaluation", evaluation, {
            **common, "gen_id": evaluation, "parent_gen_id": essay, "stage": text,
        })  # fmt: skip
        _generation(path, "evaluation", f"wrong-{at}", {
            **common, "parent_gen_id": text, "replicate": text, "model_id": f"{text}2",
        })  # fmt: skip
        _generation(path, "essay", f"list-{at}", {**common, "template_id": [text], "combo_id": {}})
    _write(path / "gens" / "draft" / "broken" / "metadata.json", HOSTILE[0])
    for name in _NAMES:
        with open(os.fsencode(path / "gens" / "essay") + b"/" + name, "wb") as file:
            file.write(b"x")
    members = [f"draft,draft-{at}" for at in range(len(HOSTILE))]
    members += [f"evaluation,evaluation-{at}" for at in range(len(HOSTILE))]
    _write(path / "cohorts" / "c" / "membership.csv", "\n".join(["stage,gen_id", *members, ""]))
    _write(path / "cohorts" / "b" / "membership.csv", f'stage,gen_id\n"{HOSTILE[0]}",x\nessay,=1\n')
    _write(path / "cohorts" / "h" / "membership.csv", HOSTILE[0])
    _write(path / "cohorts" / "c" / "manifest.json", json.dumps({"rollout": HOSTILE[0]}))
    return path


def hostile_tables(path: Path, *, broken: bool) -> None:
    """Write raw tables whose ids and, where `broken`, whose cells are hostile."""
    flag = HOSTILE[0] if broken else "true"
    for stage in ("draft", "essay", "evaluation"):
        rows: list[Sequence[str]] = [
            ("template_id", "generator", "active"),
            *((text, "llm", flag) for text in HOSTILE),
        ]
        _write(path / "1_raw" / f"{stage}_templates.csv", _csv(rows))
    models = [(text, flag, flag) for text in HOSTILE]
    table = _csv([("id", "for_generation", "for_evaluation"), *models])
    _write(path / "1_raw" / "llm_models.csv", table)
    concepts = [(text, text, flag) for text in HOSTILE]
    table = _csv([("concept_id", "name", "active"), *concepts])
    _write(path / "1_raw" / "concepts_metadata.csv", table)
    counts = [(stage, "2") for stage in ("draft", "essay", "evaluation")]
    _write(path / "1_raw" / "replication_config.csv", _csv([("stage", "replicates"), *counts]))


def _csv(rows: Iterable[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(
        [cell.replace("\0", "") for cell in row] for row in rows
    )
    return out.getvalue()


def _generation(path: Path, stage: str, gen_id: str, metadata: dict[str, object]) -> None:
    folder = path / "gens" / stage / gen_id
    _write(folder / "metadata.json", json.dumps({"stage": stage, **metadata}))
    _write(folder / "parsed.txt", "text")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
