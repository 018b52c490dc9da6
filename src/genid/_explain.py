"""How an id is derived, and why two ids differ."""

from typing import TYPE_CHECKING, Any

import attrs
from blake3 import blake3

from genid._signature import Signature, canonical_bytes
from genid._text import DIGEST_BYTES, as_uuid, uuid_bits
from genid.schemes import gen_id

if TYPE_CHECKING:
    from uuid import UUID


@attrs.frozen(kw_only=True)
class Explanation:
    """Each step from a signature to its v1 id (SPEC 2 to 5).

    `canonical` is what is hashed, as text; `blake3` the full digest in hex, as `b3sum` prints it.
    """

    stage: str
    fields: dict[str, str | int]
    canonical: str
    blake3: str
    gen_id: str

    @property
    def uuid(self) -> "UUID":
        """The UUID that the id encodes (SPEC 4)."""
        return as_uuid(uuid_bits(bytes.fromhex(self.blake3)[:DIGEST_BYTES]))


@attrs.frozen(kw_only=True)
class Difference:
    """One field in which two signatures differ; None stands for an absent value."""

    field: str
    a: str | int | None
    b: str | int | None


def explain(signature: Signature[Any]) -> Explanation:
    """Return each step from a signature to its v1 id (SPEC 2 to 5).

    Raises:
        SignatureError: `signature` is not one.
    """
    derived = gen_id(signature)
    data = canonical_bytes(signature)
    return Explanation(
        stage=signature.stage,
        fields=signature.fields(),
        canonical=data.decode("ascii"),
        blake3=blake3(data).hexdigest(),
        gen_id=derived,
    )


def diff(a: Signature[Any], b: Signature[Any]) -> tuple[Difference, ...]:
    """Return where two signatures differ, in order of declaration; empty for equal ones (SPEC 2.5).

    The first difference between signatures of two stages is `stage`.

    Raises:
        SignatureError: `a` or `b` is not a signature.
    """
    if canonical_bytes(a) == canonical_bytes(b):
        return ()
    left = {"stage": a.stage, **a.fields()}
    right = {"stage": b.stage, **b.fields()}
    return tuple(
        Difference(field=name, a=left.get(name), b=right.get(name))
        for name in left | right
        if left.get(name) != right.get(name)
    )
