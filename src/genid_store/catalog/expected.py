"""The ids that a generation should have, and whether the one it has matches its metadata.

Pure: one generation and what is known of its parent in, ids and a family out. Expected ids are
those of the same task in a fresh deterministic cohort, so the parent's *expected* id goes into a
child's; whether an id recomputes is asked of the metadata unchanged, so there the parent's id as
written goes in.
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

#: The families of ids in a store. "unverifiable": the shape of phase-1, and the metadata gives
#: neither that id nor a legacy one; a state, not a fault.
StoreFamily = Literal["v1", "phase-1", "legacy", "foreign", "unverifiable"]

_SCHEMES: Final[tuple[StoreFamily, StoreFamily]] = ("v1", "phase-1")
_FILL_UP_SALTS: Final = 8  # how many of the endless salts of filling up are tried
_SHORTEST_PREFIXED: Final = 13  # characters of a legacy id behind a stage's prefix
_pick_facts: Final = attrgetter(
    *("stage", "gen_id", "parent_gen_id", "combo_id", "template_id", "llm_model_id"),
    *("replicate", "origin_cohort_id", "mode"),
)


class ParentIds(NamedTuple):
    """What a child's ids need to know of its parent: its expected ids and its draft fields."""

    v1: str | None
    phase_1: str | None
    task_id: str | None  # the legacy draft task id; None parent evaluations
    llm_model_id: str | None
    replicate: int | None


class ExpectedIds(NamedTuple):
    """What follows from a generation's metadata; ids are None where none can be derived."""

    family: StoreFamily
    recomputes: bool = False
    v1: str | None = None
    phase_1: str | None = None
    problems: tuple[Problem, ...] = ()


class Facts(NamedTuple):
    """Which generation it is, and what its metadata says, as `Generation` has it."""

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

    `parent` is its parent's `ParentIds`; None for a draft and where the parent is not in the store.
    """
    return derive([facts_of(generation)], [generation.signature_fields()], [parent])[0]


def derive(
    facts: Sequence[Facts],
    values: Sequence[dict[str, Any]],
    parents: Sequence[ParentIds | None],
) -> list[ExpectedIds]:
    """Return the same of several generations of one stage: of the facts of each, its values of the
    fields of the stage's signature, in which it puts the expected parent, and its parent.

    Step by step for all of them: the processor keeps what a step needs, which saves a third.
    """
    fields = stage_fields(facts[0].stage)
    tasks = [_task(fields, *one) for one in zip(facts, values, parents, strict=True)]
    v1 = [V1.derive(task) if isinstance(task, Signature) else None for task in tasks]
    phase_1 = [
        _phase_1(task, parent and parent.phase_1)
        if isinstance(task, Signature) and (parent is None or parent.phase_1 is not None)
        else None
        for task, parent in zip(tasks, parents, strict=True)
    ]
    return [
        task if isinstance(task, ExpectedIds) else _judged(fields, of, given, parent, (new, old))
        for task, of, given, parent, new, old in zip(
            tasks, facts, values, parents, v1, phase_1, strict=True
        )
    ]


def facts_of(generation: Generation) -> Facts:
    """Return a generation's facts."""
    return Facts._make(_pick_facts(generation))


def as_parent(generation: Generation, v1: str | None, phase_1: str | None) -> ParentIds:
    """Return what the children of a generation with these expected ids need to know of it."""
    return parent_ids(facts_of(generation), v1, phase_1)


def parent_ids(facts: Facts, v1: str | None, phase_1: str | None) -> ParentIds:
    """Return the same of facts."""
    stage, _, _, combo_id, template_id, model, number, *_ = facts
    task_id = None
    if stage == "draft" and combo_id is not None and template_id is not None and model is not None:
        task_id = legacy.draft_task(combo_id, template_id, model)
    return ParentIds(v1, phase_1, task_id, model, number)


def is_complete(generation: Generation) -> bool:
    """Say whether the metadata gives every field that identifies a generation of its stage."""
    return _is_complete(stage_fields(generation.stage), generation.signature_fields())


def signature(
    generation: Generation, *, parent_gen_id: str | None, parent_model: str | None
) -> Signature[Any]:
    """Return the signature of a complete generation over this parent, which has this model: an
    essay's carries its model only where it is not its draft's.

    SignatureError: a field cannot be part of a signature (SPEC 1).
    """
    values = generation.signature_fields()
    if generation.stage == "essay":
        _set_model(values, parent_model)
    return _sign(stage_fields(generation.stage), values, parent_gen_id)


def _is_complete(fields: StageFields, values: Mapping[str, Any]) -> bool:
    """Say whether every field that must be there is, and none has a value of a wrong type: an
    optional one that has is not the same as an absent one."""
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
    """Return the family that a folder's name shows; a name is a safe segment, so there is one."""
    return family_of(gen_id) or "foreign"


def _written(facts: Facts, fields: StageFields, values: Mapping[str, Any]) -> Signature[Any] | None:
    """Return the signature over the parent's id as written; None where that id cannot be one.

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
    """Return the signature over the parent's expected id, None where that is not known; of metadata
    that gives none, all that can be said of its ids."""
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
        _written(facts, fields, values)  # the fields are checked all the same
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
    """Return with the expected ids, v1 and phase-1, what the id that it has is.

    They are compared first: most ids are one of them, and then nothing is derived.
    """
    gen_id = facts.gen_id
    if gen_id in expected:
        number = expected.index(gen_id)
        over = None if parent is None else (parent.v1, parent.phase_1)[number]
        if fields.parent is None or over == facts.parent_gen_id:
            return ExpectedIds(_SCHEMES[number], True, *expected)
    shape = _shape(gen_id)
    if shape == "v1":
        problems = _problems_of_v1(facts, fields, values)
        return ExpectedIds("v1", not problems, *expected, problems)
    if shape == "phase-1" and _phase_1(_written(facts, fields, values)) == gen_id:
        return ExpectedIds("phase-1", True, *expected)
    return ExpectedIds(*_older(facts, shape, parent), *expected)


def _phase_1(task: Signature[Any] | None, parent: str | None = None) -> str | None:
    """Return a task's phase-1 id, over `parent` if that is given; None where there is none."""
    try:
        return None if task is None else phase_1_id(task, parent)
    except SchemeError:
        return None


def _problems_of_v1(
    facts: Facts, fields: StageFields, values: Mapping[str, Any]
) -> tuple[Problem, ...]:
    """Return what is wrong with a v1 id that does not recompute. A cohort's essay carries its model
    where it is not its draft's; one that a caller signed may repeat its draft's, and is not less
    itself for that."""
    written = _written(facts, fields, values)
    derived = None if written is None else V1.derive(written)
    if derived == facts.gen_id:
        return ()
    if derived is not None and facts.stage == "essay":
        alone = {**values, "llm_model_id": facts.llm_model_id}
        with contextlib.suppress(SignatureError):  # its draft's model, which no caller can sign
            if V1.derive(_sign(fields, alone, facts.parent_gen_id)) == facts.gen_id:
                return ()
    return (_problem(facts, findings.ID_NOT_RECOMPUTED, value=derived or NO_VALUE),)


def _older(facts: Facts, shape: StoreFamily, parent: ParentIds | None) -> tuple[StoreFamily, bool]:
    """Return the family of an id that is neither v1 nor a phase-1 one that recomputes, and whether
    it is a legacy one that does."""
    if shape not in ("legacy", "phase-1"):
        return shape, False
    task_id, salts = _legacy_task(facts, parent)
    start = facts.gen_id if shape == "legacy" else facts.gen_id[2:]
    recomputes = len(start) >= _SHORTEST_PREFIXED and legacy.is_reserved(
        start, facts.stage, task_id, facts.origin_cohort_id, salts
    )
    return "legacy" if recomputes or shape == "legacy" else "unverifiable", recomputes


def _legacy_task(facts: Facts, parent: ParentIds | None) -> tuple[str, Iterable[str | None]]:
    """Return the legacy task id and its possible salts, the likeliest first: which it is depends on
    the kind of cohort (cartesian, curated, fill-up), which no metadata tells. None for an essay
    without a draft, of whose task id and replicate they are made."""
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
    """Return a flaw for each field of a signature that SPEC 1 refuses; parents are looked up."""
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
