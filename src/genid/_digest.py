"""Canonical bytes to 16 bytes of BLAKE3, and those to a UUID (SPEC 3 and 4)."""

from typing import TYPE_CHECKING

from blake3 import blake3

if TYPE_CHECKING:
    from uuid import UUID

DIGEST_BYTES = 16  # 128 bits, of which SPEC 4.1 keeps 122

_VERSION_SHIFT = 128 - 4 * 13  # byte 6's high nibble is the 13th hex digit
_VARIANT_SHIFT = 128 - 8 * 8 - 2  # byte 8's two high bits
DIGEST_MASK = 2**128 - 1 - (0b1111 << _VERSION_SHIFT | 0b11 << _VARIANT_SHIFT)
UUID_MARKS = 0b1000 << _VERSION_SHIFT | 0b10 << _VARIANT_SHIFT


def digest(data: bytes) -> bytes:
    """Return the first 16 bytes of the plain BLAKE3 of `data` (SPEC 3)."""
    return blake3(data).digest(DIGEST_BYTES)


def full_digest_hex(data: bytes) -> str:
    """Return the 32-byte BLAKE3 of `data` in hex, as `b3sum` prints it (SPEC 3)."""
    return blake3(data).hexdigest()


def uuid_bits(digest: bytes) -> int:
    """Return 16 digest bytes as the 128 bits of a UUID of version 8 (SPEC 4)."""
    return int.from_bytes(digest, "big") & DIGEST_MASK | UUID_MARKS


def is_version_8(bits: int) -> bool:
    """Return whether 128 bits have version 8 and variant 10 (SPEC 4)."""
    return bits & ~DIGEST_MASK == UUID_MARKS


def as_uuid(bits: int) -> "UUID":
    """Return 128 bits as a `uuid.UUID`."""
    from uuid import UUID  # noqa: PLC0415 - a sixth of `import genid`, and no id needs it

    return UUID(int=bits)
