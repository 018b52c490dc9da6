"""The stages that are defined, for every module that must know all of them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genid._signature import Signature

registered: "dict[str, type[Signature[Any]]]" = {}
STAGES: "Mapping[str, type[Signature[Any]]]" = MappingProxyType(registered)
"""Every stage's class by the stage's name, in the order of their definition."""


def known_prefixes() -> dict[str, str]:
    """Return the name of each stage by its prefix letter."""
    return {cls.prefix: stage for stage, cls in registered.items()}
