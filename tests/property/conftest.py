"""How hard the laws are tried (`--long`: ten times more), and a further stage they hold for."""

import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

from genid._registry import registered
from signature_kit import add_revision

settings.register_profile("laws", max_examples=1_000 if "--long" in sys.argv else 100)
settings.load_profile("laws")


@pytest.fixture(autouse=True, scope="module")
def a_further_stage() -> Iterator[None]:
    """The laws hold for a stage that a user adds, which refers to itself."""
    add_revision()
    yield
    del registered["revision"]
