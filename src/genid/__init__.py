"""Deterministic generation ids: the same task gives the same id, everywhere and for good."""

from genid._derive import gen_id
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
from genid.explain import Difference, Explanation, diff, explain
from genid.grid import Grid
from genid.parse import Family, ParsedId, is_gen_id, parse_id, parse_v1
from genid.schemes import PHASE_1, SCHEMES, V1, Scheme, SchemeName, scheme
from genid.stages import Draft, DraftId, Essay, EssayId, Evaluation, EvaluationId

__all__ = [
    "PHASE_1",
    "REPLICATE_MAX",
    "SCHEMES",
    "STAGES",
    "V1",
    "ColumnError",
    "DeclarationError",
    "Difference",
    "Draft",
    "DraftId",
    "Essay",
    "EssayId",
    "Evaluation",
    "EvaluationId",
    "Explanation",
    "Family",
    "GenIdError",
    "Grid",
    "ParseError",
    "ParsedId",
    "Problem",
    "Scheme",
    "SchemeError",
    "SchemeName",
    "Signature",
    "SignatureError",
    "canonical_bytes",
    "diff",
    "explain",
    "gen_id",
    "is_gen_id",
    "normalize_component",
    "parent_field",
    "parent_stage",
    "parse_id",
    "parse_v1",
    "scheme",
]
