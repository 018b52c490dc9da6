"""Derive the ids that a generation should have, and check the one it has against its metadata.

Pure: a generation and its parent's ids in, expected ids and a family out. Expected ids are those of
the same task in a new deterministic cohort, so a child's are derived from the parent's *expected*
ids. Whether an id recomputes is a question about the metadata as it is, so that check uses the
parent's id as written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any, Final, Literal, NamedTuple

from genid import V1, Family, SchemeError, Signature, SignatureError
from genid import Problem as SignatureProblem
from genid.parse import family_of
from genid.schemes import phase_1_id
from genid_store.catalog import findings
from genid_store.catalog.findings import finding
from genid_store.catalog.metadata import ABSENT_REPLICATE, Generation, StageFields, stage_fields
from genid_store.errors import NO_VALUE, Problem
from genid_store.fs.layout import METADATA
from genid_store.ids import legacy
from genid_store.ids.components import model_override

#: The families of ids in a store. "unverifiable": the id looks like phase-1, but the metadata gives
#: neither that id nor a legacy one. That is a state, not a fault.
StoreFamily = Literal["v1", "phase-1", "legacy", "foreign", "unverifiable"]

_SCHEMES: Final[tuple[StoreFamily, StoreFamily]] = ("v1", "phase-1")
_FILL_UP_SALTS: Final = 8  # tried of the infinitely many salts of filling up
_SHORTEST_PREFIXED: Final = 13  # characters of a legacy id after a stage's prefix
_pick_facts: Final = attrgetter(
    *("stage", "gen_id", "parent_gen_id", "combo_id", "template_id", "llm_model_id"),
    *("replicate", "origin_cohort_id", "mode"),
)


class ParentIds(NamedTuple):
    """What a child's ids depend on: its parent's expected ids and draft fields."""

    v1: str | None
    phase_1: str | None
    task_id: str | None  # the legacy task id of a draft
    llm_model_id: str | None
    replicate: int | None


class ExpectedIds(NamedTuple):
    """What a generation's metadata determines; an id is None if it cannot be derived."""

    family: StoreFamily
    recomputes: bool = False
    v1: str | None = None
    phase_1: str | None = None
    problems: tuple[Problem, ...] = ()


class Facts(NamedTuple):
    """The fields of a `Generation` that the index keeps in columns of their own."""

    stage: str
    gen_id: str
    parent_gen_id: str | None
    combo_id: str | None
    template_id: str | None
    llm_model_id: str | None
    replicate: int | None
    origin_cohort_id: str | None
    mode: str | None


def derive_expected(generation: Generation, parent: ParentIds | None) -> ExpectedIds:
    """Return a generation's expected ids, its family and whether its id recomputes.

    `parent` is None for a draft and for a parent that is not in the store.
    """
    return derive([facts_of(generation)], [generation.signature_fields()], [parent])[0]


def derive(
    facts: Sequence[Facts],
    values: Sequence[dict[str, Any]],
    parents: Sequence[ParentIds | None],
) -> list[ExpectedIds]:
    """Return the expected ids of several generations of one stage.

    `values` are the values of the signature's fields, which this function changes. Each step runs
    over all generations before the next step, because the processor's caches then hold what the
    step needs. That saves a third of the time.
    """
    fields = stage_fields(facts[0].stage)
    tasks = [_task(fields, *each) for each in zip(facts, values, parents, strict=True)]
    v1 = [V1.derive(task) if isinstance(task, Signature) else None for task in tasks]
    phase_1 = [
        _phase_1(task, parent and parent.phase_1)
        if isinstance(task, Signature) and (parent is None or parent.phase_1 is not None)
        else None
        for task, parent in zip(tasks, parents, strict=True)
    ]
    return [
        task if isinstance(task, ExpectedIds) else _judged(fields, fact, value, parent, (new, old))
        for task, fact, value, parent, new, old in zip(
            tasks, facts, values, parents, v1, phase_1, strict=True
        )
    ]


def facts_of(generation: Generation) -> Facts:
    """Return a generation's facts."""
    return Facts._make(_pick_facts(generation))


def as_parent(generation: Generation, v1: str | None, phase_1: str | None) -> ParentIds:
    """Return what the children of a generation with these expected ids depend on."""
    return parent_ids(facts_of(generation), v1, phase_1)


def parent_ids(facts: Facts, v1: str | None, phase_1: str | None) -> ParentIds:
    """Return the same from facts."""
    stage, _, _, combo_id, template_id, model, number, *_ = facts
    task_id = None
    if stage == "draft" and combo_id is not None and template_id is not None and model is not None:
        task_id = legacy.draft_task(combo_id, template_id, model)
    return ParentIds(v1, phase_1, task_id, model, number)


def is_complete(generation: Generation) -> bool:
    """Return whether the metadata has every field that identifies a generation of its stage."""
    return _is_complete(stage_fields(generation.stage), generation.signature_fields())


def signature(
    generation: Generation, *, parent_gen_id: str | None, parent_model: str | None
) -> Signature[Any]:
    """Return the signature of a complete generation over a parent with this id and model.

    SignatureError: a field cannot be part of a signature (SPEC 1).
    """
    values = generation.signature_fields()
    if generation.stage == "essay":
        _set_model(values, parent_model)
    return _sign(stage_fields(generation.stage), values, parent_gen_id)


def _is_complete(fields: StageFields, values: Mapping[str, Any]) -> bool:
    """Return whether every required field has a value, and no field one of a wrong type."""
    if len(values) < len(fields.every):
        return False
    return None not in values.values() or None not in map(
        values.get, (*fields.required, "replicate")
    )


def _set_model(values: dict[str, Any], parent_model: str | None) -> None:
    values["llm_model_id"] = model_override(values["llm_model_id"], parent_model)


def _sign(
    fields: StageFields, values: Mapping[str, Any], parent_gen_id: str | None
) -> Signature[Any]:
    if fields.parent is not None:
        values = {**values, fields.parent: parent_gen_id}
    return fields.signature(**values)


def _shape(gen_id: str) -> Family:
    """Return the family that an id looks like; every folder's name has one."""
    return family_of(gen_id) or "foreign"


def _written(facts: Facts, fields: StageFields, values: Mapping[str, Any]) -> Signature[Any] | None:
    """Return the signature over the parent's id as written, None if that id is invalid.

    SignatureError: another field cannot be part of a signature.
    """
    try:
        return _sign(fields, values, facts.parent_gen_id)
    except SignatureError as error:
        if all(_names_parent(facts.stage, problem) for problem in error.problems):
            return None
        raise


def _names_parent(stage: str, problem: SignatureProblem) -> bool:
    return problem.place == f"{stage}.{stage_fields(stage).parent}"


def _task(
    fields: StageFields, facts: Facts, values: dict[str, Any], parent: ParentIds | None
) -> Signature[Any] | ExpectedIds | None:
    """Return the signature over the parent's expected id, None if that is unknown; for incomplete
    or invalid metadata, the `ExpectedIds` without ids."""
    if not _is_complete(fields, values):
        shape = _shape(facts.gen_id)
        return ExpectedIds("unverifiable" if shape == "phase-1" else shape)
    try:
        if facts.stage == "essay":
            _set_model(values, None if parent is None else parent.llm_model_id)
        if fields.parent is None or (
            facts.parent_gen_id is None and fields.parent not in fields.required
        ):
            return fields.signature(**values)
        if parent is not None and parent.v1 is not None:
            values[fields.parent] = parent.v1
            return fields.signature(**values)
        _written(facts, fields, values)  # checks the fields although nothing is derived
    except SignatureError as error:
        family, _ = _older(facts, _shape(facts.gen_id), parent)
        return ExpectedIds(family, problems=_unfit(facts, error))
    return None


def _judged(
    fields: StageFields,
    facts: Facts,
    values: Mapping[str, Any],
    parent: ParentIds | None,
    expected: tuple[str | None, str | None],
) -> ExpectedIds:
    """Return the expected ids, v1 and phase-1, with the family of the generation's id.

    Most ids equal an expected one. Comparing them first avoids deriving anything else.
    """
    gen_id = facts.gen_id
    if gen_id in expected:
        scheme = expected.index(gen_id)
        parent_id = None if parent is None else (parent.v1, parent.phase_1)[scheme]
        if fields.parent is None or parent_id == facts.parent_gen_id:
            return ExpectedIds(_SCHEMES[scheme], True, *expected)
    shape = _shape(gen_id)
    if shape == "v1":
        problems = _problems_of_v1(facts, fields, values)
        return ExpectedIds("v1", not problems, *expected, problems)
    if shape == "phase-1" and _phase_1(_written(facts, fields, values)) == gen_id:
        return ExpectedIds("phase-1", True, *expected)
    return ExpectedIds(*_older(facts, shape, parent), *expected)


def _phase_1(task: Signature[Any] | None, parent: str | None = None) -> str | None:
    """Return a task's phase-1 id, over `parent` if given; None if the scheme has none for it."""
    try:
        return None if task is None else phase_1_id(task, parent)
    except SchemeError:
        return None


def _problems_of_v1(
    facts: Facts, fields: StageFields, values: Mapping[str, Any]
) -> tuple[Problem, ...]:
    """Return the problem of a v1 id that does not recompute.

    A cohort's essay has a model only if it differs from its draft's. An essay that a caller signed
    may repeat its draft's model, so its id is valid in that form too.
    """
    written = _written(facts, fields, values)
    derived = None if written is None else V1.derive(written)
    if derived == facts.gen_id:
        return ()
    if derived is not None and facts.stage == "essay":
        alone = {**values, "llm_model_id": facts.llm_model_id}
        with contextlib.suppress(SignatureError):  # a model that no caller can sign
            if V1.derive(_sign(fields, alone, facts.parent_gen_id)) == facts.gen_id:
                return ()
    return (_problem(facts, findings.ID_NOT_RECOMPUTED, value=derived or NO_VALUE),)


def _older(facts: Facts, shape: StoreFamily, parent: ParentIds | None) -> tuple[StoreFamily, bool]:
    """Return the family of any other id, and whether it is a legacy id that recomputes."""
    if shape not in ("legacy", "phase-1"):
        return shape, False
    task_id, salts = _legacy_task(facts, parent)
    start = facts.gen_id if shape == "legacy" else facts.gen_id[2:]
    recomputes = len(start) >= _SHORTEST_PREFIXED and legacy.is_reserved(
        start, facts.stage, task_id, facts.origin_cohort_id, salts
    )
    return "legacy" if recomputes or shape == "legacy" else "unverifiable", recomputes


def _legacy_task(facts: Facts, parent: ParentIds | None) -> tuple[str, Iterable[str | None]]:
    """Return the legacy task id and its possible salts, the most likely first.

    The salt depends on the kind of cohort (cartesian, curated, fill-up), which metadata does not
    record. An essay without a draft has no salts, because they are made of the draft's fields.
    """
    template, model = str(facts.template_id), str(facts.llm_model_id)
    number = facts.replicate or ABSENT_REPLICATE
    if facts.stage == "draft":
        task_id = legacy.draft_task(str(facts.combo_id), template, model)
        return task_id, (legacy.draft_salt(number),)
    if facts.stage == "evaluation":
        task_id = legacy.evaluation_task(str(facts.parent_gen_id), template, model)
        return task_id, islice(legacy.fill_up_salts(number), _FILL_UP_SALTS)
    if parent is None or parent.task_id is None or facts.stage != "essay":
        return "", ()
    salts = (
        legacy.essay_salt(parent.replicate or ABSENT_REPLICATE, number),
        *(() if number > 1 else (legacy.curated_essay_salt(1, number),)),
        legacy.curated_essay_salt(number + 1, number),
    )
    return legacy.essay_task(parent.task_id, template), salts


def _unfit(facts: Facts, error: SignatureError) -> tuple[Problem, ...]:
    """Return a problem for each field that SPEC 1 refuses, except the parent's id."""
    return tuple(
        _problem(
            facts,
            findings.FIELD_UNFIT,
            field=problem.place.rpartition(".")[2],
            message=problem.reason,
            value=problem.value,
        )
        for problem in error.problems
        if not _names_parent(facts.stage, problem)
    )


def _problem(facts: Facts, code: str, **details: Any) -> Problem:
    return finding(code, f"gens/{facts.stage}/{facts.gen_id}/{METADATA}", **details)
