"""`gen_id`: a signature and a scheme, composed."""

from genid._signature import IdT, Signature
from genid.errors import Problem, SignatureError
from genid.schemes import V1, Scheme, SchemeName
from genid.schemes import scheme as scheme_named


def no_signature(value: object) -> SignatureError:
    """Return the error of a value that is no signature."""
    remedy = "pass a Draft, an Essay, an Evaluation"
    return SignatureError(
        Problem(place="signature", value=value, reason="is no signature", remedy=remedy)
    )


def gen_id(signature: Signature[IdT], scheme: Scheme | SchemeName = V1) -> IdT:
    """Return the id of a signature, of the type that the signature's class names.

    `scheme` is one of `SCHEMES` or its name.

    Raises:
        SignatureError: `signature` is none.
        SchemeError: `scheme` is none, or cannot express the signature (v1 expresses every one).
    """
    if not isinstance(signature, Signature):
        raise no_signature(signature)
    if isinstance(scheme, Scheme):
        return scheme.gen_id(signature)
    return scheme_named(scheme).gen_id(signature)
