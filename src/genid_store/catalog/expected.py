"""The ids that a generation should have, and whether the one it has matches its metadata.

Pure: one generation and what is known of its parent in, ids and a family out. Expected ids are
those of the same task in a fresh deterministic cohort, so the parent's *expected* id goes into a
child's; whether an id recomputes is asked of the metadata unchanged, so there the parent's id as
written goes in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

from attrs import frozen

from genid import (
    PHASE_1,
    STAGES,
    V1,
    Family,
    Scheme,
    SchemeError,
    Signature,
    SignatureError,
    is_gen_id,
    parse_id,
)
from genid import Problem as SignatureProblem
from genid_store.catalog import findings
from genid_store.catalog.findings import finding
from genid_store.catalog.legacy_ids import legacy_ids
from genid_store.catalog.metadata import Generation, stage_fields
from genid_store.errors import NO_VALUE, Problem
from genid_store.fs.layout import METADATA
from genid_store.ids import legacy
from genid_store.ids.components import model_override
from genid_store.stages import parent_stage

#: The families of ids in a store. "unverifiable": the shape of phase-1, and the metadata gives
#: neither that id nor a legacy one; a state, not a fault.
StoreFamily = Literal["v1", "phase-1", "legacy", "foreign", "unverifiable"]

_SHORTEST_PREFIXED: Final = 13  # characters of a legacy id behind a stage's prefix


class ParentIds(NamedTuple):
    """What a child's ids need to know of its parent: its expected ids and its draft fields."""

    v1: str | None
    phase_1: str | None
    task_id: str | None  # the legacy draft task id; None parent evaluations
    llm_model_id: str | None
    replicate: int | None


@frozen(kw_only=True, slots=False)  # slots make a frozen record twice as slow to make
class ExpectedIds:
    """What follows from a generation's metadata; ids are None where none can be derived."""

    v1: str | None = None
    phase_1: str | None = None
    family: StoreFamily
    recomputes: bool = False
    problems: tuple[Problem, ...] = ()


def derive_expected(generation: Generation, parent: ParentIds | None) -> ExpectedIds:
    """Return a generation's expected ids, its family and whether its id recomputes.

    `parent` is its parent's `ParentIds`; None for a draft and where the parent is not in the store.
    """
    if not is_complete(generation):
        shape = _shape(generation.gen_id)
        return ExpectedIds(family="unverifiable" if shape == "phase-1" else shape)
    try:
        model = signed_model(generation, None if parent is None else parent.llm_model_id)
        v1, phase_1 = _expected(generation, model, parent)
    except SignatureError as error:
        family, _ = _older(_shape(generation.gen_id), generation, parent)
        return ExpectedIds(family=family, problems=_unfit(generation, error))
    family, recomputes, problems = _family(generation, model, parent, v1, phase_1)
    return ExpectedIds(
        v1=v1, phase_1=phase_1, family=family, recomputes=recomputes, problems=problems
    )


def as_parent(generation: Generation, expected: ExpectedIds) -> ParentIds:
    """Return what a generation's children need to know of it."""
    fields = (generation.combo_id, generation.template_id, generation.llm_model_id)
    whole = generation.stage == "draft" and None not in fields
    return ParentIds(
        v1=expected.v1,
        phase_1=expected.phase_1,
        task_id=legacy.draft_task(*map(str, fields)) if whole else None,
        llm_model_id=generation.llm_model_id,
        replicate=generation.effective_replicate,
    )


def is_complete(generation: Generation) -> bool:
    """Say whether the metadata gives every field that identifies a generation of its stage."""
    for name in stage_fields(generation.stage).required:  # a loop: asked of every generation
        if generation.value(name) is None:
            return False
    return generation.effective_replicate is not None


def signature(
    generation: Generation, *, parent_gen_id: str | None, llm_model_id: str | None
) -> Signature[Any]:
    """Return the signature of a complete generation, with this parent and this model.

    SignatureError: a field cannot be part of a signature (SPEC 1).
    """
    fields = stage_fields(generation.stage)
    values = {name: generation.value(name) for name in fields.components}
    values["replicate"] = generation.effective_replicate
    if fields.parent is not None:
        values[fields.parent] = parent_gen_id
    if "llm_model_id" in fields.every:
        values["llm_model_id"] = llm_model_id
    return STAGES[generation.stage](**values)


def signed_model(generation: Generation, draft_model: str | None) -> str | None:
    """Return the model that the signature carries: an essay's only where it is not its draft's.

    SignatureError: one of the two models cannot be part of a signature.
    """
    if generation.stage != "essay":
        return generation.llm_model_id
    return model_override(generation.llm_model_id, draft_model)


def _shape(gen_id: str) -> Family:
    """Return the family that a folder's name shows; a name is a safe segment, so there is one."""
    prefixed = gen_id[1:2] == "_"  # most older ids are not, and need no closer look
    return "v1" if prefixed and is_gen_id(gen_id) else parse_id(gen_id).family


def _written(generation: Generation, model: str | None) -> Signature[Any] | None:
    """Return the signature over the parent's id as written; None where that id cannot be one.

    SignatureError: another field cannot be part of a signature.
    """
    try:
        return signature(generation, parent_gen_id=generation.parent_gen_id, llm_model_id=model)
    except SignatureError as error:
        if all(_names_parent(generation.stage, problem) for problem in error.problems):
            return None
        raise


def _names_parent(stage: str, problem: SignatureProblem) -> bool:
    return problem.place == f"{stage}.{stage_fields(stage).parent}"


def _expected(
    generation: Generation, model: str | None, parent: ParentIds | None
) -> tuple[str | None, str | None]:
    """Return the id under each scheme, over the parent's under the same one; None without one.

    SignatureError: a field other than the parent cannot be part of a signature.
    """
    if parent_stage(generation.stage) is None:
        task = signature(generation, parent_gen_id=None, llm_model_id=model)
        return _derive(V1, task), _derive(PHASE_1, task)
    if parent is None or parent.v1 is None:
        _written(generation, model)  # the fields are checked all the same
        return None, None
    task = signature(generation, parent_gen_id=parent.v1, llm_model_id=model)
    if parent.phase_1 is None:
        return _derive(V1, task), None
    older = signature(generation, parent_gen_id=parent.phase_1, llm_model_id=model)
    return _derive(V1, task), _derive(PHASE_1, older)


def _family(
    generation: Generation,
    model: str | None,
    parent: ParentIds | None,
    v1: str | None,
    phase_1: str | None,
) -> tuple[StoreFamily, bool, tuple[Problem, ...]]:
    """Return an id's family, whether it recomputes over the parent as written, and what is wrong.

    The expected ids are compared first: most ids are one of them, and then nothing is derived.
    """
    gen_id, written = generation.gen_id, generation.parent_gen_id
    first = parent_stage(generation.stage) is None
    if gen_id == v1 and (first or (parent is not None and parent.v1 == written)):
        return "v1", True, ()
    if gen_id == phase_1 and (first or (parent is not None and parent.phase_1 == written)):
        return "phase-1", True, ()
    shape = _shape(gen_id)
    if shape == "v1":
        return _family_of_v1(generation, model, parent)
    if shape == "phase-1" and _derive(PHASE_1, _written(generation, model)) == gen_id:
        return "phase-1", True, ()
    return *_older(shape, generation, parent), ()


def _derive(scheme: Scheme, task: Signature[Any] | None) -> str | None:
    """Return a signature's id; None where the scheme cannot express it (phase-1 alone)."""
    try:
        return None if task is None else scheme.gen_id(task)
    except SchemeError:
        return None


def _family_of_v1(
    generation: Generation, model: str | None, parent: ParentIds | None
) -> tuple[StoreFamily, bool, tuple[Problem, ...]]:
    written = _written(generation, model)
    derived = _derive(V1, written)
    recomputes = derived == generation.gen_id
    if not recomputes and parent is None and written is not None and generation.stage == "essay":
        alone = signature(
            generation,
            parent_gen_id=generation.parent_gen_id,
            llm_model_id=generation.llm_model_id,
        )
        recomputes = _derive(V1, alone) == generation.gen_id
    if recomputes:
        return "v1", True, ()
    problem = _problem(generation, findings.ID_NOT_RECOMPUTED, value=derived or NO_VALUE)
    return "v1", False, (problem,)


def _older(
    shape: StoreFamily, generation: Generation, parent: ParentIds | None
) -> tuple[StoreFamily, bool]:
    """Return the family of an id that is neither v1 nor a phase-1 one that recomputes."""
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
    task_id, replicate = (None, None) if parent is None else (parent.task_id, parent.replicate)
    return legacy_ids(generation, draft_task_id=task_id, draft_replicate=replicate)


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
