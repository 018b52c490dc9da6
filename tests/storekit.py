"""Stores of any size for the tests: all four families and every oddity that the contract lists.

`make_store(path, generations=400, seed=0)` writes a data root and returns what it wrote, with the
deterministic ids that each generation should have. Deterministic: the same arguments give the same
bytes. The ids are derived here anew, sharing no code with the package.

Cohorts: three legacy ones over partly the same tasks (duplicates in all three stages), one with
prefixed legacy ids, phase-1, v1, a hand-made one with foreign ids, a mixed one (legacy evaluations
of phase-1 essays), one of v1 evaluations of legacy essays, and an evaluation-only one whose members
are shared with the others. Some essays have replicates 1 and 3 only; some are copies.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blake3 import blake3

STAGES = ("draft", "essay", "evaluation")
FILES = ("prompt.txt", "raw.txt", "parsed.txt", "raw_metadata.json", "parsed_metadata.json")
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"

DRAFT_TEMPLATES = ("creative-synthesis-v2", "creative-synthesis-v10", "deliberate-v1")
ESSAY_TEMPLATES = ("essay-narrative-v3", "parsed-from-links-v1")
COPY_TEMPLATE = "parsed-from-links-v1"
EVALUATION_TEMPLATES = ("novelty-v1", "novelty-v2", "style-coherence", "verification-v2")
GENERATION_MODELS = ("gemini_25_pro", "deepseek_r1_p")
EVALUATION_MODELS = ("sonnet-4", "qwen3-30b")

#: The oddities at the end of the contract; one generation of each stage gets each of them.
ODDITIES = (
    "template under its older name",
    "model under its older name",
    "replicate missing",
    "replicate a text",
    "replicate a float",
    "gen_id not the folder's name",
    "metadata empty",
    "metadata truncated",
    "metadata missing",
    "parent gone",
)
#: More that is wrong, asked for by name: make_store(..., faults=FAULTS).
FAULTS = (
    "metadata a list",
    "key twice",
    "metadata not UTF-8",
    "field missing",
    "field of the wrong type",
    "field under two names",
    "field unfit for an id",
    "stage not the folder's",
    "v1 id of other fields",
    "parent of the wrong stage",
    "cycle",
    "case collision",
    "unparsed",
    "drift",
    "record malformed",
)
#: Oddities and faults after which no deterministic id can be derived, for descendants either.
_BREAKING = {
    "metadata empty",
    "metadata truncated",
    "metadata missing",
    "parent gone",
    "metadata a list",
    "key twice",
    "metadata not UTF-8",
    "field missing",
    "field of the wrong type",
    "field unfit for an id",
    "parent of the wrong stage",
    "cycle",
}


@dataclass(kw_only=True)
class Made:
    """One generation as it was written; `v1` and `phase_1` are None where none can be derived."""

    stage: str
    gen_id: str
    family: str
    cohort: str
    task: dict[str, Any]
    mode: str
    parent: Made | None = None
    oddity: str | None = None
    state: str = "made"  # made | seeded | unparsed
    v1: str | None = None
    phase_1: str | None = None

    @property
    def folder(self) -> str:
        return f"gens/{self.stage}/{self.gen_id}"


@dataclass(kw_only=True)
class Store:
    """What `make_store` wrote: the root, the generations in writing order, members by cohort."""

    path: Path
    generations: list[Made] = field(default_factory=list)
    cohorts: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def of(self, *, stage: str | None = None, family: str | None = None) -> list[Made]:
        """Return the generations of a stage and a family that have no oddity."""
        return [
            made
            for made in self.generations
            if stage in (None, made.stage) and family in (None, made.family) and not made.oddity
        ]

    def odd(self, oddity: str) -> list[Made]:
        """Return the generations that were given this oddity."""
        return [made for made in self.generations if made.oddity == oddity]


# -- the ids, derived anew ----------------------------------------------------------------------
def v1_id(stage: str, task: dict[str, Any]) -> str:
    """Derive a v1 id from the signature's fields (spec 1-5); absent fields are None."""
    fields = {
        key: value.strip().lower() if isinstance(value, str) and key != "parent_gen_id" else value
        for key, value in task.items()
        if value is not None
    }
    document = json.dumps(
        {**fields, "genid": 1, "stage": stage}, separators=(",", ":"), sort_keys=True
    )
    digest = bytearray(blake3(document.encode()).digest(16))
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return _prefix(stage) + _digits(int.from_bytes(digest), _BASE32).rjust(26, "0")


def phase_1_id(stage: str, task: dict[str, Any]) -> str | None:
    """Derive a phase-1 id; None for an essay with a model of its own."""
    if stage == "essay" and task.get("llm_model_id") is not None:
        return None
    names = ("combo_id", "parent_gen_id", "template_id", "llm_model_id", "replicate")
    parts = [str(task[name]).strip().lower() for name in names if task.get(name) is not None]
    digest = hashlib.blake2b("|".join(parts).encode(), digest_size=10).digest()
    return _prefix(stage) + _digits(int.from_bytes(digest), _BASE36)


def legacy_id(stage: str, task_id: str, cohort: str | None, salt: str | None = None) -> str:
    """Derive a legacy id: cohort-scoped SHA-256, 96 bits, base36, 16 characters."""
    parts = [part for part in (stage, task_id, cohort, salt) if part]
    digest = hashlib.sha256("".join(f"{part}|" for part in parts).encode()).digest()
    return _digits(int.from_bytes(digest[:12]), _BASE36).rjust(16, "0")[:16]


def _prefix(stage: str) -> str:
    return {"draft": "d_", "essay": "e_", "evaluation": "v_"}[stage]


def _digits(number: int, alphabet: str) -> str:
    digits = ""
    while number:
        number, rest = divmod(number, len(alphabet))
        digits = alphabet[rest] + digits
    return digits or "0"


# -- minting, one small class an id family --------------------------------------------------------
def _draft_task(draft: Made) -> str:
    return "__".join(draft.task[key] for key in ("combo_id", "template_id", "llm_model_id"))


def _legacy(stage: str, task: dict[str, Any], parent: Made | None, cohort: str) -> str:
    replicate = task["replicate"]
    salt = None if replicate == 1 else f"rep{replicate}"
    if stage == "draft":
        task_id = "__".join(task[key] for key in ("combo_id", "template_id", "llm_model_id"))
        return legacy_id(stage, task_id, cohort, salt)
    assert parent is not None
    if stage == "essay":
        numbers = (parent.task["replicate"], replicate)
        salt = None if numbers == (1, 1) else f"rep{numbers[0]}-{numbers[1]}"
        return legacy_id(stage, f"{_draft_task(parent)}__{task['template_id']}", cohort, salt)
    task_id = f"{parent.gen_id}__{task['template_id']}__{task['llm_model_id']}"
    return legacy_id(stage, task_id, cohort, f"fill{replicate}" if replicate == 3 else salt)


def _curated(stage: str, task: dict[str, Any], parent: Made | None, cohort: str) -> str:
    """Legacy ids of a curated cohort: every essay's salt is its own replicate alone."""
    if stage != "essay" or parent is None:
        return _legacy(stage, task, parent, cohort)
    task_id = f"{_draft_task(parent)}__{task['template_id']}"
    return legacy_id(stage, task_id, cohort, f"rep{task['replicate']}")


def _prefixed(stage: str, task: dict[str, Any], parent: Made | None, cohort: str) -> str:
    """Legacy ids with a stage's prefix and 13 to 16 characters behind it."""
    bare = _legacy(stage, task, parent, cohort)
    return _prefix(stage) + bare[: 13 + sum(map(ord, bare)) % 4]


def _foreign(stage: str, task: dict[str, Any], parent: Made | None, cohort: str) -> str:
    """Ids made by hand: readable, some in upper or mixed case."""
    tag = _legacy(stage, task, parent, cohort)[:7]
    forms = (
        f"hand-made.{stage}-{tag}",
        f"HAND_{stage.upper()}_{tag.upper()}",
        f"Best_{stage}-{tag}",
    )
    return forms[sum(map(ord, tag)) % 3]


def _deterministic(scheme: Callable[..., str | None]) -> Callable[..., str]:
    def mint(stage: str, task: dict[str, Any], parent: Made | None, cohort: str) -> str:
        fields = dict(task)
        if parent is not None:
            fields["parent_gen_id"] = parent.gen_id
        result = scheme(stage, fields)
        assert result is not None
        return result

    return mint


Mint = Callable[[str, dict[str, Any], Made | None, str], str]
_PHASE_1, _V1 = _deterministic(phase_1_id), _deterministic(v1_id)
#: cohort -> family by which each of its stages is minted
_COHORTS: dict[str, tuple[tuple[str, Mint], ...]] = {
    "legacy-2024-01": (("legacy", _legacy),) * 3,
    "legacy-2024-02": (("legacy", _legacy),) * 3,
    "legacy-2024-03": (("legacy", _curated),) * 3,
    "prefixed-2024": (("prefixed", _prefixed),) * 3,
    "phase-1-2025": (("phase-1", _PHASE_1),) * 3,
    "v1-2026": (("v1", _V1),) * 3,
    "hand-made": (("foreign", _foreign),) * 3,
    "mixed-2025": (("phase-1", _PHASE_1), ("phase-1", _PHASE_1), ("legacy", _legacy)),
    "mixed-2026": (("legacy", _legacy), ("legacy", _legacy), ("v1", _V1)),
}
_EVALUATION_ONLY = "evaluation-only-2026"


# -- the tasks ----------------------------------------------------------------------------------
_PER_DRAFT = 1 + 1 + 16  # one essay a draft, 4 templates x 2 models x 2 replicates an essay


def _drafts_of(
    number: int, share: int, combos: list[str], *, overlap: bool
) -> Iterator[dict[str, Any]]:
    """Yield cohort number's draft tasks: the first is every cohort's, the others mostly its own;
    without overlap all are its own."""
    for index in range(share):
        place = 0 if index == 0 else 1 + index + number * (share - 1 if share > 2 else 1)
        place = place if overlap else number * share + index
        place, template = divmod(place, len(DRAFT_TEMPLATES))
        place, model = divmod(place, len(GENERATION_MODELS))
        place, combo = divmod(place, len(combos))
        yield {
            "combo_id": combos[combo],
            "template_id": DRAFT_TEMPLATES[template],
            "llm_model_id": GENERATION_MODELS[model],
            "replicate": 1 + place,
        }


def _cohort(name: str, tasks: Iterable[dict[str, Any]]) -> Iterator[Made]:
    """Yield the generations of one cohort that has these draft tasks, parents first."""
    minting = dict(zip(STAGES, _COHORTS[name], strict=True))

    def mint(stage: str, task: dict[str, Any], mode: str, parent: Made | None) -> Made:
        family, minter = minting[stage]
        gen_id = minter(stage, task, parent, name)
        return Made(
            stage=stage,
            gen_id=gen_id,
            family=family,
            cohort=name,
            task=task,
            mode=mode,
            parent=parent,
        )

    for index, task in enumerate(tasks):
        draft = mint("draft", task, "llm", None)
        yield draft
        template = ESSAY_TEMPLATES[index % 2]
        own = GENERATION_MODELS[0] if name == "v1-2026" and index % 5 == 4 else None
        own = None if own == task["llm_model_id"] else own
        fields = {"template_id": template, "llm_model_id": own, "replicate": 1 if index % 4 else 2}
        essay = mint("essay", fields, "copy" if template == COPY_TEMPLATE else "llm", draft)
        yield essay
        for template in EVALUATION_TEMPLATES:
            for model in EVALUATION_MODELS:
                for replicate in (1, 3) if index % 3 == 0 else (1, 2):
                    cell = {"template_id": template, "llm_model_id": model, "replicate": replicate}
                    yield mint("evaluation", cell, "llm", essay)


def _combo_ids(count: int) -> dict[str, list[str]]:
    """Return combo id -> its concepts, as the contract derives them (paragraph, k_max 2)."""
    combos = {}
    for number in range(count):
        concepts = sorted((f"concept-{number:04d}", f"concept-{number + 1:04d}"))
        text = "|".join(concepts) + "|paragraph|2"
        combos[f"combo_v1_{hashlib.sha256(text.encode()).hexdigest()[:12]}"] = concepts
    return combos


# -- metadata, oddities and content ----------------------------------------------------------------
def _metadata(made: Made) -> dict[str, Any]:
    task, parent = made.task, made.parent
    draft = made
    while draft.parent is not None:
        draft = draft.parent
    model = task["llm_model_id"] or draft.task["llm_model_id"]
    values = {
        "stage": made.stage,
        "gen_id": made.gen_id,
        "origin_cohort_id": made.cohort,
        "mode": made.mode,
        "template_id": task["template_id"],
        "combo_id": draft.task["combo_id"],
        "parent_gen_id": None if parent is None else parent.gen_id,
        "llm_model_id": model,
        "replicate": task["replicate"],
    }
    return {key: value for key, value in values.items() if value is not None}


def _odd_metadata(made: Made, metadata: dict[str, Any]) -> bytes | None:  # noqa: PLR0912
    """Return the bytes of metadata.json with the generation's oddity in it; None for no file."""
    oddity = made.oddity
    if oddity == "metadata missing":
        return None
    if oddity == "template under its older name":
        metadata[f"{made.stage}_template"] = metadata.pop("template_id")
    elif oddity == "model under its older name":
        metadata["model_id"] = metadata.pop("llm_model_id")
    elif oddity == "replicate missing":
        del metadata["replicate"]
    elif oddity == "replicate a text":
        metadata["replicate"] = str(metadata["replicate"])
    elif oddity == "replicate a float":
        metadata["replicate"] = float(metadata["replicate"])
    elif oddity == "gen_id not the folder's name":
        metadata["gen_id"] = f"{made.gen_id}-old"
    elif oddity in ("parent gone", "parent of the wrong stage", "cycle"):
        metadata["parent_gen_id"] = {
            "parent gone": "0000000000000000",
            "parent of the wrong stage": _aunt(made),
            "cycle": made.gen_id,
        }[oddity]
    elif oddity == "field missing":
        del metadata["template_id"]
    elif oddity == "field of the wrong type":
        metadata["template_id"] = 7
    elif oddity == "field under two names":
        metadata["model_id"] = "another-model"
    elif oddity == "field unfit for an id":
        metadata["template_id"] = "größe & <b>inner space</b>"
    elif oddity == "stage not the folder's":
        metadata["stage"] = "summary"
    elif oddity == "v1 id of other fields":
        metadata["replicate"] = 77
    data = json.dumps(metadata, indent=2, ensure_ascii=False).encode()
    if oddity == "metadata a list":
        return b"[" + data + b"]"
    if oddity == "key twice":
        return data[:-1] + b', "replicate": 1}'
    if oddity == "metadata not UTF-8":
        return data.replace(b'"stage"', b'"st\xff\xfege"', 1)
    return {"metadata empty": b"", "metadata truncated": data[: len(data) // 2]}.get(
        oddity or "", data
    )


def _aunt(made: Made) -> str:
    """Return an id of a stage that cannot be the parent: a draft's for an evaluation."""
    assert made.parent is not None
    return made.parent.gen_id if made.parent.parent is None else made.parent.parent.gen_id


_STAGES_OF = {
    "parent gone": ("essay", "evaluation"),
    "parent of the wrong stage": ("evaluation",),
    "cycle": ("essay",),
    "v1 id of other fields": ("evaluation",),
    "unparsed": ("evaluation",),
    "drift": ("evaluation",),
    "record malformed": ("evaluation",),
    "case collision": ("draft",),
}


def _give_oddities(store: Store, oddities: Collection[str]) -> None:
    """Choose, evenly over each stage, the generations that get each oddity."""
    for stage in STAGES:
        mine = [name for name in oddities if stage in _STAGES_OF.get(name, STAGES)]
        members = [made for made in store.generations if made.stage == stage]
        spare = [
            made for made in members if stage == "evaluation" or _childless_enough(made, members)
        ]
        for index, oddity in enumerate(mine):
            family = "v1" if oddity == "v1 id of other fields" else None
            able = [made for made in spare if made.oddity is None and family in (None, made.family)]
            if oddity == "replicate missing":
                able = [made for made in able if made.task["replicate"] == 1]
            if oddity in ("unparsed", "drift", "record malformed"):
                able = [made for made in able if made.state == "made"]
            if able:
                able[(index * 7919) % len(able)].oddity = oddity
    for made in store.generations:
        made.state = "unparsed" if made.oddity == "unparsed" else made.state


def _childless_enough(made: Made, members: list[Made]) -> bool:
    """Leave most drafts and essays sound in small stores: odd parents make odd descendants."""
    return len(members) > 40 or members.index(made) % 3 == 2


def _truth(store: Store) -> None:
    """Fill in the deterministic ids that each generation should have, ancestors first."""
    for made in store.generations:
        if made.oddity in _BREAKING:
            continue
        task = dict(made.task)
        if made.oddity == "v1 id of other fields":
            task["replicate"] = 77
        parent = made.parent
        if parent is None or parent.v1 is not None:
            made.v1 = v1_id(
                made.stage, task if parent is None else {**task, "parent_gen_id": parent.v1}
            )
        if parent is None or parent.phase_1 is not None:
            above = {} if parent is None else {"parent_gen_id": parent.phase_1}
            made.phase_1 = phase_1_id(made.stage, {**task, **above})


def _template_text(stage: str, template: str) -> str:
    return f"Template {template} of the {stage} stage.\n{{{{ parent_text }}}}\n"


def _content(made: Made) -> dict[str, bytes]:
    """Return the content files of one generation, by name."""
    text = f"{made.stage} {made.gen_id}\n" * 3 + "SCORE: 7\n"
    if made.mode == "copy" and made.parent is not None:
        text = f"{made.parent.stage} {made.parent.gen_id}\n" * 3 + "SCORE: 7\n"
    template = _template_text(made.stage, made.task["template_id"])
    digest = blake3((template + ("older" if made.oddity == "drift" else "")).encode()).hexdigest()
    record = {
        "stage": made.stage,
        "gen_id": made.gen_id,
        "parent_gen_id": None if made.parent is None else made.parent.gen_id,
        "input_path": None if made.parent is None else f"{made.parent.folder}/parsed.txt",
        "genid": {"template_digest": digest, "provider_model": "vendor/model", "parameters": {}},
    }
    raw = json.dumps(record, indent=2).encode()
    return {
        "prompt.txt": template.encode(),
        "raw.txt": text.encode(),
        "parsed.txt": text.encode(),
        "raw_metadata.json": raw[:40] if made.oddity == "record malformed" else raw,
        "parsed_metadata.json": json.dumps({"gen_id": made.gen_id, "parser": "identity"}).encode(),
    }


# -- writing ---------------------------------------------------------------------------------------
def make_store(
    path: Path,
    *,
    generations: int = 400,
    seed: int = 0,
    oddities: Collection[str] = ODDITIES,
    faults: Collection[str] = (),
    files: Collection[str] = FILES,
    selection: str | None = "essays",
    cohorts: Collection[str] = tuple(_COHORTS),
    overlap: bool = True,
) -> Store:
    """Write a data root at `path` with about so many generations and return what is in it.

    `seed` moves which generations are seeded only; `oddities=()` and `faults=()` make a sound
    store; `files` are the content files written (`parsed.txt` and `raw.txt` decide the state);
    `selection` is `essays`, `drafts` or None: which selection file there is; `cohorts` leaves out
    the others, which makes the store smaller; without `overlap` no two cohorts share a task.
    """
    chance = random.Random(seed)
    share = max(1, round(generations / len(_COHORTS) / _PER_DRAFT))
    combos = _combo_ids(max(3, 2 * share))
    store = Store(path=path)
    known: dict[tuple[str, str], Made] = {}
    for number, name in enumerate(_COHORTS):
        if name not in cohorts:
            continue
        members = store.cohorts[name] = []
        tasks = _drafts_of(number, share, list(combos), overlap=overlap)
        for made in _cohort(name, tasks):
            key = (made.stage, made.gen_id)
            members.append(key)
            if key in known:
                continue
            known[key] = made
            made.parent = made.parent and known[made.parent.stage, made.parent.gen_id]
            made.state = "seeded" if chance.random() < 0.05 else "made"
            store.generations.append(made)
    evaluations = [
        (made.stage, made.gen_id) for made in store.generations if made.stage == "evaluation"
    ]
    store.cohorts[_EVALUATION_ONLY] = evaluations[::5]
    store.generations.sort(key=lambda made: STAGES.index(made.stage))
    _give_oddities(store, [*faults, *oddities])
    _truth(store)
    _write_tables(path, combos, share)
    _write_cohorts(store)
    for made in store.generations:
        _write_generation(path, made, files)
    for made in store.odd("case collision"):
        twin = path / "gens" / made.stage / made.gen_id.swapcase()
        _write(
            twin / "metadata.json", json.dumps({**_metadata(made), "gen_id": twin.name}).encode()
        )
    _write_selection(store, selection)
    return store


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _write_generation(path: Path, made: Made, files: Collection[str]) -> None:
    folder = f"{path}/{made.folder}"
    Path(folder).mkdir(parents=True)
    data = _odd_metadata(made, _metadata(made))
    if data is not None:
        with open(f"{folder}/metadata.json", "wb") as file:
            file.write(data)
    if made.state == "seeded":
        return
    for name, content in _content(made).items():
        if name in files and not (made.state == "unparsed" and name.startswith("parsed")):
            with open(f"{folder}/{name}", "wb") as file:
                file.write(content)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()


def _write_tables(path: Path, combos: dict[str, list[str]], share: int) -> None:
    raw = path / "1_raw"
    concepts = sorted({concept for pair in combos.values() for concept in pair})
    rows = [(concept, concept.replace("-", " ").title(), "true") for concept in concepts]
    _write(raw / "concepts_metadata.csv", _csv(("concept_id", "name", "active"), rows))
    tables = (DRAFT_TEMPLATES, ESSAY_TEMPLATES, EVALUATION_TEMPLATES)
    for stage, templates in zip(STAGES, tables, strict=True):
        rows = [(name, "copy" if name == COPY_TEMPLATE else "llm", "true") for name in templates]
        table = _csv(("template_id", "generator", "active"), rows)
        _write(raw / f"{stage}_templates.csv", table)
        for name in templates:
            _write(path / "templates" / stage / f"{name}.txt", _template_text(stage, name).encode())
    models = [(name, "true", "false", f"vendor/{name}") for name in GENERATION_MODELS]
    models += [(name, "false", "true", f"vendor/{name}") for name in EVALUATION_MODELS]
    header = ("id", "for_generation", "for_evaluation", "model")
    _write(raw / "llm_models.csv", _csv(header, models))
    _write(raw / "replication_config.csv", _csv(("stage", "replicates"), [(s, 2) for s in STAGES]))
    columns = ("combo_id", "version", "concept_id", "description_level", "k_max", "created_at")
    picks = [
        (combo, "v1", concept, "paragraph", 2, "2025-01-01T00:00:00Z")
        for combo, members in combos.items()
        for concept in members
    ]
    _write(path / "combo_mappings.csv", _csv(columns, picks))
    _write(path / "2_tasks" / "selected_combo_mappings.csv", _csv(columns, picks[:4]))


def _write_cohorts(store: Store) -> None:
    by_key = {(made.stage, made.gen_id): made for made in store.generations}
    for name, members in store.cohorts.items():
        folder = store.path / "cohorts" / name
        rows = list(dict.fromkeys(members))
        _write(folder / "membership.csv", _csv(("stage", "gen_id"), rows))
        made = [by_key[key] for key in rows]
        manifest: dict[str, Any] = {
            "combos": sorted({m.task["combo_id"] for m in made if m.stage == "draft"}),
            "templates": {
                stage: sorted({m.task["template_id"] for m in made if m.stage == stage})
                for stage in STAGES
            },
            "llms": {
                "generation": sorted(GENERATION_MODELS),
                "evaluation": sorted(EVALUATION_MODELS),
            },
        }
        if name == "v1-2026":
            manifest["rollout"] = {"stages": list(STAGES), "scheme": "v1"}
        _write(
            folder / "manifest.json", json.dumps(manifest, indent=2, ensure_ascii=False).encode()
        )


def _write_selection(store: Store, selection: str | None) -> None:
    if selection is None:
        return
    stage = {"essays": "essay", "drafts": "draft"}[selection]
    ids = [made.gen_id for made in store.of(stage=stage) if made.v1 is not None][:6]
    text = "\n".join(["# chosen by hand", "", *ids, ""])
    _write(store.path / "2_tasks" / f"selected_{selection}.txt", text.encode())
