"""What the core's tests draw signatures from: the one place for strategies."""

from collections.abc import Collection
from typing import Any, NewType

from hypothesis import strategies as st

from genid import Draft, DraftId, Essay, Evaluation, Signature, gen_id
from genid._registry import registered

Fields = dict[str, Any]

PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"\\')
FOLDED = "".join(letter for letter in PLAIN if not letter.isupper())
WHITE = " \t\n\r\f\v"
PARTS_OF_JSON = "|,:{}0123456789"  # what a careless join or parser would trip over

replicates = st.one_of(st.integers(1, 5), st.integers(1, 2**31 - 1), st.just(2**31 - 1))
components = st.one_of(
    st.text(FOLDED, min_size=1, max_size=20),
    st.text(PARTS_OF_JSON, min_size=1, max_size=12),
    st.text(FOLDED, min_size=240, max_size=255),
)
spelled = st.one_of(
    components,
    st.builds(
        lambda head, body, tail: head + body + tail,
        st.text(WHITE, max_size=3),
        st.text(PLAIN, min_size=1, max_size=40),
        st.text(WHITE, max_size=3),
    ),
)
"""Components as tables spell them: any case, white space around."""


RevisionId = NewType("RevisionId", str)


class Revision(Signature[RevisionId], stage="revision", prefix="r"):
    """A stage that a user might add: it refers to itself, and only the replicate is never absent.

    It is defined, but no stage, until a test calls `add_revision`.
    """

    draft_gen_id: DraftId
    previous_gen_id: RevisionId | None = None
    note: str | None = None
    replicate: int


del registered["revision"]


def add_revision() -> None:
    """Make `Revision` a stage of this process."""
    registered["revision"] = Revision


def _parents(prefix: str) -> st.SearchStrategy[str]:
    other = tuple(f"{letter}_" for letter in "devr" if letter != prefix)
    return st.one_of(
        st.text("0123456789abcdefghjkmnpqrstvwxyz", min_size=26, max_size=26).map(
            lambda suffix: f"{prefix}_{suffix}"
        ),
        st.text("0123456789abcdefghijklmnopqrstuvwxyz", min_size=16, max_size=16),
        st.text(PLAIN, min_size=1, max_size=255).filter(lambda text: not text.startswith(other)),
    )


def fields_of(stage: str, texts: st.SearchStrategy[str] = spelled) -> st.SearchStrategy[Fields]:
    """Draw sound fields of one stage."""
    if stage == "draft":
        return st.fixed_dictionaries(
            {
                "combo_id": texts,
                "template_id": texts,
                "llm_model_id": texts,
                "replicate": replicates,
            }
        )
    if stage == "essay":
        return st.fixed_dictionaries(
            {"parent_gen_id": _parents("d"), "template_id": texts, "replicate": replicates},
            optional={"llm_model_id": st.none() | texts},
        )
    if stage == "revision":
        return st.fixed_dictionaries(
            {"draft_gen_id": _parents("d"), "replicate": replicates},
            optional={"previous_gen_id": st.none() | _parents("r"), "note": st.none() | texts},
        )
    return st.fixed_dictionaries(
        {
            "parent_gen_id": _parents("e"),
            "template_id": texts,
            "llm_model_id": texts,
            "replicate": replicates,
        }
    )


CLASSES: dict[str, type[Signature[Any]]] = {
    "draft": Draft,
    "essay": Essay,
    "evaluation": Evaluation,
}
WITH_REVISION: dict[str, type[Signature[Any]]] = CLASSES | {"revision": Revision}


def tasks(
    texts: st.SearchStrategy[str] = spelled, classes: Collection[str] = WITH_REVISION
) -> st.SearchStrategy[tuple[str, Fields]]:
    """Draw a stage and sound fields of it."""
    return st.sampled_from(sorted(classes)).flatmap(
        lambda stage: st.tuples(st.just(stage), fields_of(stage, texts))
    )


def signature(task: tuple[str, Fields]) -> Signature[Any]:
    """Construct the signature of a drawn task."""
    stage, fields = task
    return WITH_REVISION[stage](**fields)


signatures = tasks().map(signature)

A_DRAFT = Draft(
    combo_id="combo_v1_85128e4e5ef3",
    template_id="creative-synthesis-v10",
    llm_model_id="gemini_25_pro",
    replicate=1,
)
AN_ESSAY = Essay(parent_gen_id=gen_id(A_DRAFT), template_id="essay-v2", replicate=1)
AN_EVALUATION = Evaluation(
    parent_gen_id=gen_id(AN_ESSAY), template_id="novelty-v2", llm_model_id="sonnet-4", replicate=2
)
