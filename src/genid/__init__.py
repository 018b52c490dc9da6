"""Deterministic generation ids: the same task gets the same id, everywhere and forever."""

from importlib import import_module
from typing import TYPE_CHECKING

from genid._registry import STAGES
from genid._rules import REPLICATE_MAX, normalize_component
from genid._signature import Signature, canonical_bytes, parent_field, parent_stage
from genid.errors import (
    ColumnError,
    DeclarationError,
    GenIdError,
    ParseError,
    Problem,
    SchemeError,
    SignatureError,
)
from genid.schemes import PHASE_1, SCHEMES, V1, Scheme, SchemeName, gen_id
from genid.schemes import scheme_named as scheme
from genid.stages import Draft, DraftId, Essay, EssayId, Evaluation, EvaluationId

if TYPE_CHECKING:
    from genid._explain import Difference, Explanation, diff, explain
    from genid.grid import Grid
    from genid.parse import Family, ParsedId, is_gen_id, parse_id, parse_v1

__all__ = [
    "PHASE_1", "REPLICATE_MAX", "SCHEMES", "STAGES", "V1", "ColumnError", "DeclarationError",
    "Difference", "Draft", "DraftId", "Essay", "EssayId", "Evaluation", "EvaluationId",
    "Explanation", "Family", "GenIdError", "Grid", "ParseError", "ParsedId", "Problem", "Scheme",
    "SchemeError", "SchemeName", "Signature", "SignatureError", "canonical_bytes", "diff",
    "explain", "gen_id", "is_gen_id", "normalize_component", "parent_field", "parent_stage",
    "parse_id", "parse_v1", "scheme",
]  # fmt: skip

# Deriving an id needs none of these. Loading them on first use saves a third of what this package
# adds to the time of importing attrs and blake3.
_LOADED_LATER = {
    **dict.fromkeys(("Difference", "Explanation", "diff", "explain"), "genid._explain"),
    **dict.fromkeys(("Family", "ParsedId", "is_gen_id", "parse_id", "parse_v1"), "genid.parse"),
    "Grid": "genid.grid",
}

if not TYPE_CHECKING:  # a type checker that sees `__getattr__` accepts every name

    def __getattr__(name: str) -> object:
        if name not in _LOADED_LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_LOADED_LATER[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
