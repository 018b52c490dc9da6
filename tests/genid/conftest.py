"""Stages that a test of the core defines are gone after it."""

from collections.abc import Iterator

import pytest

from genid._registry import registered


@pytest.fixture(autouse=True)
def only_the_usual_stages() -> Iterator[None]:
    """Forget the stages of a test."""
    before = dict(registered)
    yield
    registered.clear()
    registered.update(before)
