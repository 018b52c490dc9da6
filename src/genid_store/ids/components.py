"""Comparing components as identity does: one rule for planning, store, migration and report."""

from __future__ import annotations

from genid import SignatureError, normalize_component


def folded(text: str) -> str:
    """Return a text as SPEC 1.3 leaves it; one that can be part of no id stays as it is."""
    try:
        return normalize_component(text)
    except SignatureError:
        return text


def model_override(model: str | None, draft_model: str | None) -> str | None:
    """Return an essay's model where it is not its draft's, else None (SPEC 1.8).

    Models are compared as SPEC 1.3 leaves them. Where the draft's model is not known, the essay is
    taken to have it.

    Raises:
        SignatureError: the two differ as written, and one of them cannot be part of a signature.
    """
    if model is None or draft_model is None or model == draft_model:
        return None
    drafts = normalize_component(draft_model, place="draft.llm_model_id")
    same = normalize_component(model, place="essay.llm_model_id") == drafts
    return None if same else model
