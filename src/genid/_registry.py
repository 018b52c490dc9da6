"""Every stage defined so far, in a module that the others can import without a cycle."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genid._signature import Signature

registered: "dict[str, type[Signature[Any]]]" = {}
STAGES: "Mapping[str, type[Signature[Any]]]" = MappingProxyType(registered)
"""Each stage's class by the stage's name, in order of definition."""


def known_prefixes() -> dict[str, str]:
    """Return each stage's name by its prefix letter (SPEC 1.1, 1.7)."""
    return {cls.prefix: stage for stage, cls in registered.items()}
