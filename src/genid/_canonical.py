"""A signature's canonical bytes: one JSON object by RFC 8785 (SPEC 2)."""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

FORMAT = 1  # SPEC 2.2: the number of this format, inside the bytes


class Member(NamedTuple):
    """One field's place in the canonical text: what surrounds its value.

    `before` and `after` belong to the fixed members and stay where the field is absent.
    """

    name: str
    before: str
    lead: str
    trail: str
    after: str

    def text(self, written: str) -> str:
        """Return this part of the canonical text; `written` is empty for an absent field."""
        member = f"{self.lead}{written}{self.trail}" if written else ""
        return f"{self.before}{member}{self.after}"


@cache
def layout(stage: str, names: tuple[str, ...]) -> tuple[Member, ...]:
    """Return the places of a stage's fields, in the order of the bytes (SPEC 2.1 to 2.4).

    RFC 8785 sorts members by name; all names are ASCII, so sorting them as strings is that. A
    field has its comma on the side away from `genid`, which is always there.
    """
    members: list[Member] = []
    fixed = "{"
    for name in sorted({*names, "genid", "stage"}):
        if name == "genid":
            fixed += f'"genid":{FORMAT}'
        elif name == "stage":
            fixed += f',"stage":"{stage}"'
        else:
            first = name < "genid"
            lead, trail = (f'"{name}":', ",") if first else (f',"{name}":', "")
            members.append(Member(name=name, before=fixed, lead=lead, trail=trail, after=""))
            fixed = ""
    return (*members[:-1], members[-1]._replace(after=fixed + "}"))


def written(value: str | int | None) -> str:
    """Return a normalized value as JSON, nothing for an absent one (SPEC 2.3, 2.4).

    No value can hold a character that JSON escapes (SPEC 1.4).
    """
    if value is None:
        return ""
    return f'"{value}"' if isinstance(value, str) else str(value)


def canonical_text(stage: str, fields: Mapping[str, str | int]) -> str:
    """Return the canonical text of the normalized fields that are present (SPEC 2)."""
    members = layout(stage, tuple(fields))
    return "".join([member.text(written(fields[member.name])) for member in members])
