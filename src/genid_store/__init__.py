"""A store of paid generations and the cohorts over it, on plain files; no orchestrator.

Everything is imported when it is first asked for: a command or a host that needs the seam alone
does not pay for the rest.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genid_store.errors import Problem, StoreError
    from genid_store.generation.batch import Collected
    from genid_store.generation.records import Generated, NotPaid, Request
    from genid_store.ids.minting import GenerationIds
    from genid_store.ids.rollout import Rollout
    from genid_store.store import Store

_PLACES = {
    "Collected": "generation.batch",
    "Generated": "generation.records",
    "GenerationIds": "ids.minting",
    "NotPaid": "generation.records",
    "Problem": "errors",
    "Request": "generation.records",
    "Rollout": "ids.rollout",
    "Store": "store",
    "StoreError": "errors",
}
__all__ = [
    "Collected",
    "Generated",
    "GenerationIds",
    "NotPaid",
    "Problem",
    "Request",
    "Rollout",
    "Store",
    "StoreError",
]


def __getattr__(name: str) -> Any:
    """Import one of the public names."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
