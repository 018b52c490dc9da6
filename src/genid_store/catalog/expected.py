"""The ids that a generation should have, and whether the one it has matches its metadata.

Pure: one generation and what is known of its parent in, ids and a family out. Expected ids are
those of the same task in a fresh deterministic cohort, so the parent's *expected* id goes into a
child's; whether an id recomputes is asked of the metadata unchanged, so there the parent's id as
written goes in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, Literal, NamedTuple

from genid import (
    STAGES,
    V1,
    Family,
    SchemeError,
    Signature,
    SignatureError,
)
from genid import Problem as SignatureProblem
from genid.parse import family_of
from genid.schemes import phase_1_id
from genid_store.catalog import findings
from genid_store.catalog.findings import finding
from genid_store.catalog.metadata import ABSENT_REPLICATE, Generation, stage_fields
from genid_store.errors import NO_VALUE, Problem
from genid_store.fs.layout import METADATA
from genid_store.ids import legacy
from genid_store.ids.components import model_override
from genid_store.stages import parent_stage

#: The families of ids in a store. "unverifiable": the shape of phase-1, and the metadata gives
#: neither that id nor a legacy one; a state, not a fault.
StoreFamily = Literal["v1", "phase-1", "legacy", "foreign", "unverifiable"]

_SCHEMES: Final[tuple[StoreFamily, StoreFamily]] = ("v1", "phase-1")
_FILL_UP_SALTS: Final = 8  # how many of the endless salts of filling up are tried
_SHORTEST_PREFIXED: Final = 13  # characters of a legacy id behind a stage's prefix


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


def derive_expected(generation: Generation, parent: ParentIds | None) -> ExpectedIds:
    """Return a generation's expected ids, its family and whether its id recomputes.

    `parent` is its parent's `ParentIds`; None for a draft and where the parent is not in the store.
    """
    values = generation.signature_fields()
    if not _is_complete(generation.stage, values):
        shape = _shape(generation.gen_id)
        return ExpectedIds("unverifiable" if shape == "phase-1" else shape)
    try:
        _set_model(generation.stage, values, None if parent is None else parent.llm_model_id)
        v1, phase_1 = _expected(generation, values, parent)
    except SignatureError as error:
        family, _ = _older(generation, _shape(generation.gen_id), parent)
        return ExpectedIds(family, problems=_unfit(generation, error))
    family, recomputes, problems = _family(generation, values, parent, (v1, phase_1))
    return ExpectedIds(family, recomputes, v1, phase_1, problems)


def as_parent(generation: Generation, v1: str | None, phase_1: str | None) -> ParentIds:
    """Return what the children of a generation with these expected ids need to know of it."""
    task_id = None
    if generation.stage == "draft":
        fields = (generation.combo_id, generation.template_id, generation.llm_model_id)
        task_id = None if None in fields else legacy.draft_task(*map(str, fields))
    return ParentIds(v1, phase_1, task_id, generation.llm_model_id, generation.effective_replicate)


def is_complete(generation: Generation) -> bool:
    """Say whether the metadata gives every field that identifies a generation of its stage."""
    return _is_complete(generation.stage, generation.signature_fields())


def signature(
    generation: Generation, *, parent_gen_id: str | None, parent_model: str | None
) -> Signature[Any]:
    """Return the signature of a complete generation over this parent, which has this model: an
    essay's carries its model only where it is not its draft's.

    SignatureError: a field cannot be part of a signature (SPEC 1).
    """
    values = generation.signature_fields()
    _set_model(generation.stage, values, parent_model)
    return _sign(generation.stage, values, parent_gen_id)


def _is_complete(stage: str, values: Mapping[str, Any]) -> bool:
    if None not in values.values():
        return True
    required = [values[name] for name in stage_fields(stage).required]
    return None not in required and values["replicate"] is not None


def _set_model(stage: str, values: dict[str, Any], parent_model: str | None) -> None:
    if stage == "essay":
        values["llm_model_id"] = model_override(values["llm_model_id"], parent_model)


def _sign(stage: str, values: Mapping[str, Any], parent_gen_id: str | None) -> Signature[Any]:
    parent = stage_fields(stage).parent
    if parent is not None:
        values = {**values, parent: parent_gen_id}
    return STAGES[stage](**values)


def _shape(gen_id: str) -> Family:
    """Return the family that a folder's name shows; a name is a safe segment, so there is one."""
    return family_of(gen_id) or "foreign"


def _written(generation: Generation, values: Mapping[str, Any]) -> Signature[Any] | None:
    """Return the signature over the parent's id as written; None where that id cannot be one.

    SignatureError: another field cannot be part of a signature.
    """
    try:
        return _sign(generation.stage, values, generation.parent_gen_id)
    except SignatureError as error:
        if all(_names_parent(generation.stage, problem) for problem in error.problems):
            return None
        raise


def _names_parent(stage: str, problem: SignatureProblem) -> bool:
    return problem.place == f"{stage}.{stage_fields(stage).parent}"


def _expected(
    generation: Generation, values: Mapping[str, Any], parent: ParentIds | None
) -> tuple[str | None, str | None]:
    """Return the id under each scheme, over the parent's under the same one; None without one.

    SignatureError: a field other than the parent cannot be part of a signature.
    """
    above: str | None = None
    if parent_stage(generation.stage) is not None:
        if parent is None or parent.v1 is None:
            _written(generation, values)  # the fields are checked all the same
            return None, None
        above = parent.v1
    task = _sign(generation.stage, values, above)
    if parent is not None and parent.phase_1 is None:
        return V1.gen_id(task), None
    return V1.gen_id(task), _phase_1(task, None if parent is None else parent.phase_1)


def _family(
    generation: Generation,
    values: Mapping[str, Any],
    parent: ParentIds | None,
    expected: tuple[str | None, str | None],
) -> tuple[StoreFamily, bool, tuple[Problem, ...]]:
    """Return an id's family, whether it recomputes over the parent as written, and what is wrong.

    The expected ids are compared first: most ids are one of them, and then nothing is derived.
    """
    gen_id, above = generation.gen_id, generation.parent_gen_id
    if gen_id in expected:
        number = expected.index(gen_id)
        over = None if parent is None else (parent.v1, parent.phase_1)[number]
        if parent_stage(generation.stage) is None or over == above:
            return _SCHEMES[number], True, ()
    shape = _shape(gen_id)
    if shape == "v1":
        return _family_of_v1(generation, values)
    if shape == "phase-1" and _phase_1(_written(generation, values)) == gen_id:
        return "phase-1", True, ()
    return *_older(generation, shape, parent), ()


def _phase_1(task: Signature[Any] | None, parent: str | None = None) -> str | None:
    """Return a task's phase-1 id, over `parent` if that is given; None where there is none."""
    try:
        return None if task is None else phase_1_id(task, parent)
    except SchemeError:
        return None


def _family_of_v1(
    generation: Generation, values: Mapping[str, Any]
) -> tuple[StoreFamily, bool, tuple[Problem, ...]]:
    """Decide whether a v1 id recomputes. A cohort's essay carries its model where it is not its
    draft's; one that a caller signed may repeat its draft's, and is not less itself for that."""
    written = _written(generation, values)
    derived = None if written is None else V1.gen_id(written)
    if derived == generation.gen_id:
        return "v1", True, ()
    if derived is not None and generation.stage == "essay":
        alone = {**values, "llm_model_id": generation.llm_model_id}
        if V1.gen_id(_sign("essay", alone, generation.parent_gen_id)) == generation.gen_id:
            return "v1", True, ()
    problem = _problem(generation, findings.ID_NOT_RECOMPUTED, value=derived or NO_VALUE)
    return "v1", False, (problem,)


def _older(
    generation: Generation, shape: StoreFamily, parent: ParentIds | None
) -> tuple[StoreFamily, bool]:
    """Return the family of an id that is neither v1 nor a phase-1 one that recomputes, and whether
    it is a legacy one that does."""
    gen_id = generation.gen_id
    if shape == "legacy":
        return shape, gen_id in _legacy_ids(generation, parent)
    if shape != "phase-1":
        return shape, False
    bare = gen_id[2:]
    if len(bare) >= _SHORTEST_PREFIXED and any(
        found.startswith(bare) for found in _legacy_ids(generation, parent)
    ):
        return "legacy", True
    return "unverifiable", False


def _legacy_ids(generation: Generation, parent: ParentIds | None) -> Iterator[str]:
    """Yield the legacy ids that a complete generation can have, with each salt in use.

    The salt depends on the kind of cohort (cartesian, curated, fill-up), which no metadata tells.
    """
    task_id, salts = _legacy_task(generation, parent)
    for salt in salts:
        yield legacy.reserve_gen_id(generation.stage, task_id, generation.origin_cohort_id, salt)


def _legacy_task(
    generation: Generation, parent: ParentIds | None
) -> tuple[str, Iterable[str | None]]:
    """Return the legacy task id and its possible salts, the likeliest first; none for an essay
    without a draft, of whose task id and replicate they are made."""
    template, model = str(generation.template_id), str(generation.llm_model_id)
    number = generation.effective_replicate or ABSENT_REPLICATE
    if generation.stage == "draft":
        task_id = legacy.draft_task(str(generation.combo_id), template, model)
        return task_id, (legacy.draft_salt(number),)
    if generation.stage == "evaluation":
        task_id = legacy.evaluation_task(str(generation.parent_gen_id), template, model)
        return task_id, islice(legacy.fill_up_salts(number), _FILL_UP_SALTS)
    if parent is None or parent.task_id is None or generation.stage != "essay":
        return "", ()
    salts = (
        legacy.essay_salt(parent.replicate or ABSENT_REPLICATE, number),
        *(() if number > 1 else (legacy.curated_essay_salt(1, number),)),
        legacy.curated_essay_salt(number + 1, number),
    )
    return legacy.essay_task(parent.task_id, template), salts


def _unfit(generation: Generation, error: SignatureError) -> tuple[Problem, ...]:
    """Return a flaw for each field of a signature that SPEC 1 refuses; parents are looked up."""
    return tuple(
        _problem(
            generation,
            findings.FIELD_UNFIT,
            field=problem.place.rpartition(".")[2],
            message=problem.reason,
            value=problem.value,
        )
        for problem in error.problems
        if not _names_parent(generation.stage, problem)
    )


def _problem(generation: Generation, code: str, **details: Any) -> Problem:
    return finding(code, f"gens/{generation.stage}/{generation.gen_id}/{METADATA}", **details)
