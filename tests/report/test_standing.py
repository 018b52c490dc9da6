"""Where a store stands: every generation is counted once."""

from genid_store.report.holdings import Held
from genid_store.report.standing import FAMILIES, stand


def test_every_generation_counts_once_in_its_stage_and_family() -> None:
    """Counts are by stage and family, with content told apart."""
    held = [
        Held(stage="draft", gen_id="a", family="v1", has_content=True),
        Held(stage="draft", gen_id="b", family="legacy", has_content=False),
        Held(stage="essay", gen_id="a", family="phase-1", has_content=True),
    ]
    standing = stand(held)
    draft, essay, evaluation = standing.stages
    assert (2, 1, 1, 1) == (draft.total, draft.made, draft.waiting, draft.deterministic)
    assert dict.fromkeys(FAMILIES, 0) | {"v1": 1, "legacy": 1} == dict(draft.families)
    assert (1, 1) == (essay.total, essay.deterministic)
    assert (0, ()) == (evaluation.total, evaluation.segments)
    assert (3, 2, 2) == (standing.total, standing.made, standing.deterministic)
