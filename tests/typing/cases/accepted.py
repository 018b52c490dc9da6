"""What a type checker must accept, and the types that it must see."""

from typing import NewType, assert_type

from genid import (
    PHASE_1,
    Draft,
    DraftId,
    Essay,
    EssayId,
    Evaluation,
    EvaluationId,
    Grid,
    Signature,
    gen_id,
    is_gen_id,
    parent_field,
    parent_stage,
    parse_id,
)

draft = Draft(combo_id="c", template_id="t", llm_model_id="m", replicate=1)
essay = Essay(parent_gen_id=gen_id(draft), template_id="t", replicate=1)
other = Essay(parent_gen_id=gen_id(draft), template_id="t", replicate=1, llm_model_id="m")
evaluation = Evaluation(parent_gen_id=gen_id(essay), template_id="t", llm_model_id="m", replicate=1)
assert_type(gen_id(draft), DraftId)
assert_type(gen_id(essay, PHASE_1), EssayId)
assert_type(gen_id(evaluation, "phase-1"), EvaluationId)
assert_type(essay.parent_gen_id, DraftId)
assert_type(other.llm_model_id, str | None)
assert_type(draft.replicate, int)
assert_type(parse_id("d_x").stage, str | None)

old = Essay(parent_gen_id=Draft.reference("6mnl1prnb7hitkpc"), template_id="t", replicate=1)
assert_type(Draft.reference("d_x"), DraftId)
assert_type(Essay.reference("e_x"), EssayId)

RevisionId = NewType("RevisionId", str)


class Revision(Signature[RevisionId], stage="revision", prefix="r"):
    """A fourth stage has all of it from its class."""

    parent_gen_id: EssayId
    editor_id: str | None = None
    replicate: int


revision = Revision(parent_gen_id=gen_id(essay), replicate=1)
assert_type(parent_field(Revision), str | None)
assert_type(parent_stage(Revision), str | None)

RewriteId = NewType("RewriteId", str)


class Rewrite(Signature[RewriteId], stage="rewrite", prefix="w"):
    """A stage may refer to itself."""

    parent_gen_id: EssayId
    previous_gen_id: RewriteId | None = None
    replicate: int


first = Rewrite(parent_gen_id=gen_id(essay), replicate=1)
second = Rewrite(parent_gen_id=gen_id(essay), previous_gen_id=gen_id(first), replicate=1)
assert_type(second.previous_gen_id, RewriteId | None)
Grid(Rewrite, parent_gen_id=[gen_id(essay)], previous_gen_id=[None], replicate=range(1, 3))
assert_type(gen_id(revision), RevisionId)
assert_type(Revision.reference("r_x"), RevisionId)
text: str = gen_id(draft)


def narrowed(value: object) -> str:
    """`is_gen_id` narrows to a string."""
    return value if is_gen_id(value) else ""
