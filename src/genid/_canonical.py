"""A signature's canonical bytes: one JSON object by RFC 8785 (SPEC 2)."""

from collections.abc import Callable, Mapping
from typing import Any

from genid._rules import COMPONENT_MAX, Rule

FORMAT = 1  # SPEC 2.2: the number of this format, inside the bytes

_SETTLED = bytes(
    code for code in range(0x21, 0x7F) if chr(code) not in '"\\ABCDEFGHIJKLMNOPQRSTUVWXYZ'
)


def canonical_text(stage: str, fields: Mapping[str, str | int]) -> str:
    """Return the canonical text of normalized `fields`, absent ones left out (SPEC 2.1 to 2.4).

    RFC 8785 sorts members by name; all names are ASCII, so sorting them as strings is that. No
    value can hold a character that JSON escapes (SPEC 1.4), so writing is plain substitution.
    """
    members = {**fields, "genid": FORMAT, "stage": stage}
    return "{" + ",".join(_member(name, members[name]) for name in sorted(members)) + "}"


def _member(name: str, value: str | int) -> str:
    return f'"{name}":"{value}"' if isinstance(value, str) else f'"{name}":{value}'


def settled_canonical(stage: str, rules: Mapping[str, Rule]) -> Callable[[Any], bytes | None]:
    """Return a function: a signature's canonical bytes, if none of its values needs a change.

    It gives None for a signature that has other fields present, that has something to fold or to
    refuse, and for some rare sound ones (upper case in a parent, over 255 characters in all).
    Its source is written out for one class, as attrs writes an `__init__`: a loop over the
    fields would take as long as hashing them.
    """
    texts = "".join(f"{{{name}}}" for name, rule in rules.items() if rule.written.startswith('"'))
    members = {"genid": str(FORMAT), "stage": f'"{stage}"'}
    members |= {name: rule.written.format(f"{{{name}}}") for name, rule in rules.items()}
    written = ",".join(f'"{name}":{members[name]}' for name in sorted(members) if members[name])
    lines = [
        "def settled(signature):",
        *(f"    {name} = signature.{name}" for name in rules),
        *(f"    if not ({rule.settled.format(name)}): return" for name, rule in rules.items()),
        f"    text = f'{texts}'",
        f"    if len(text) > {COMPONENT_MAX} or not text.isascii(): return",
        "    if text.encode().translate(None, SETTLED): return",
        f"    return f'{{{{{written}}}}}'.encode()",
    ]
    namespace: dict[str, Any] = {"SETTLED": _SETTLED}
    exec("\n".join(lines), namespace)  # noqa: S102 - every name in it is checked by _declaration
    settled: Callable[[Any], bytes | None] = namespace["settled"]
    return settled
