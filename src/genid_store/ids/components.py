"""Compare components as ids do (SPEC 1.3), for planning, store, migration and report alike."""

from __future__ import annotations

from typing import TypeVar

from genid import SignatureError, normalize_component

Value = TypeVar("Value")


def folded(value: Value) -> Value | str:
    """Return a text trimmed and folded (SPEC 1.3); any other value, and a text that no id can
    contain, unchanged."""
    try:
        return normalize_component(value) if isinstance(value, str) else value
    except SignatureError:
        return value


def model_override(model: str | None, draft_model: str | None) -> str | None:
    """Return an essay's model if it is not its draft's, else None (SPEC 1.8).

    An unknown draft's model is taken to be the essay's.

    SignatureError: the texts differ, and one of them cannot be part of a signature.
    """
    if model is None or draft_model is None or model == draft_model:
        return None
    normalized_draft_model = normalize_component(draft_model, place="draft.llm_model_id")
    normalized_model = normalize_component(model, place="essay.llm_model_id")
    return None if normalized_model == normalized_draft_model else model
