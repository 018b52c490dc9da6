"""`gen_id`: a signature and a scheme, composed."""

from genid._signature import IdT, Signature
from genid.schemes import V1, Scheme, SchemeName
from genid.schemes import scheme as scheme_named


def gen_id(signature: Signature[IdT], scheme: Scheme | SchemeName = V1) -> IdT:
    """Return the id of a signature, of the type that the signature's class names.

    `scheme` is one of `SCHEMES` or its name.

    Raises:
        SignatureError: `signature` is not one.
        SchemeError: `scheme` is unknown, or cannot express the signature (v1 expresses every one).
    """
    if isinstance(scheme, Scheme):
        return scheme.gen_id(signature)
    return scheme_named(scheme).gen_id(signature)
