"""A signature's canonical bytes: one JSON object by RFC 8785 (SPEC 2)."""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

FORMAT = 1  # SPEC 2.2: the format's number, which is part of the bytes


class Member(NamedTuple):
    """One field's part of the canonical text: before, lead, value, trail, after.

    An absent field leaves out `lead`, the value and `trail` (SPEC 2.4). `before` and `after` hold
    the braces and the fixed members, which are always written (SPEC 2.2).
    """

    name: str
    before: str
    lead: str
    trail: str
    after: str

    def text(self, value: str) -> str:
        """Return this part with a value as JSON, or without an empty, absent one (SPEC 2.4)."""
        member = f"{self.lead}{value}{self.trail}" if value else ""
        return f"{self.before}{member}{self.after}"


@cache
def layout(stage: str, names: tuple[str, ...]) -> tuple[Member, ...]:
    """Return the parts of a stage's canonical text, in the order of the bytes (SPEC 2.1 to 2.4).

    RFC 8785 sorts members by UTF-16 code units, which is string order for names in ASCII. Each
    field's comma is on the side of `genid`, which is always present, so it goes with the field.
    """
    members: list[Member] = []
    fixed = "{"
    for name in sorted({*names, "genid", "stage"}):
        if name == "genid":
            fixed += f'"genid":{FORMAT}'
        elif name == "stage":
            fixed += f',"stage":"{stage}"'
        else:
            lead, trail = (f'"{name}":', ",") if name < "genid" else (f',"{name}":', "")
            members.append(Member(name=name, before=fixed, lead=lead, trail=trail, after=""))
            fixed = ""
    return (*members[:-1], members[-1]._replace(after=fixed + "}"))


def json_value(value: str | int | None) -> str:
    """Return a normalized value as JSON, or an empty text for an absent one (SPEC 2.3, 2.4).

    Nothing is escaped, because no value contains a character that needs it (SPEC 1.4).
    """
    if value is None:
        return ""
    return f'"{value}"' if isinstance(value, str) else str(value)


def canonical_text(stage: str, fields: Mapping[str, str | int]) -> str:
    """Return the canonical text of the normalized fields that are present (SPEC 2)."""
    members = layout(stage, tuple(fields))
    return "".join([member.text(json_value(fields[member.name])) for member in members])
