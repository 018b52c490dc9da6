"""A signature's canonical bytes: one JSON object by RFC 8785 (SPEC 2)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from genid._rules import COMPONENT_MAX, SETTLED, Rule

FORMAT = 1  # SPEC 2.2: the number of this format, inside the bytes


class Member(NamedTuple):
    """One field's place in the canonical text: what stands around its value.

    `before` and `after` belong to the fixed members and stay where the field is absent.
    """

    name: str
    before: str
    lead: str
    trail: str
    after: str

    def text(self, written: str) -> str:
        """Return this part of the canonical text; `written` is empty for an absent field."""
        return (
            f"{self.before}{self.lead}{written}{self.trail}{self.after}"
            if written
            else (self.before + self.after)
        )


def layout(stage: str, names: Iterable[str]) -> tuple[Member, ...]:
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
    return "".join(member.text(written(fields[member.name])) for member in layout(stage, fields))


def quick_look(
    stage: str, variants: Sequence[Mapping[str, Rule]], otherwise: Callable[[Any], None]
) -> Callable[[Any], None]:
    """Return a method that keeps a signature's canonical bytes, if no value needs a change.

    `variants` are the rules of the fields for every set of fields that can be present. A signature
    that has something to fold or to refuse goes to `otherwise`, and so do some rare sound ones
    (upper case in a parent, over 255 characters in all). The method's source is written out for
    one class, as attrs writes an `__init__`: a loop over the fields would take as long as hashing
    them. Its names for values begin with `_`, as no field's does, and so meet no other name in it.
    """
    lines = ["def look(signature):", *(f"    _{name} = signature.{name}" for name in variants[0])]
    for rules in variants:
        settled = " and ".join(f"({rule.settled.format(f'_{n}')})" for n, rule in rules.items())
        texts = "".join(f"{{_{name}}}" for name, rule in rules.items() if '"' in rule.written)
        lines += [
            f"    if {settled}:",
            f"        text = f'{texts}'",
            f"        if len(text) <= {COMPONENT_MAX} and text.isascii():",
            "            data = text.encode()",
            "            if data.translate(SETTLED) is data:",
            f"                text = f'{_source(stage, rules)}'",
            "                signature.__dict__['_canonical'] = text.encode()",
            "                return",
        ]
    lines.append("    otherwise(signature)")
    namespace: dict[str, Any] = {"SETTLED": SETTLED, "otherwise": otherwise}
    exec("\n".join(lines), namespace)  # noqa: S102 - every name in it is checked by _declaration
    look: Callable[[Any], None] = namespace["look"]
    return look


def _source(stage: str, rules: Mapping[str, Rule]) -> str:
    """Return the canonical text as what stands in an f-string, each value by its name."""
    text = "".join(
        member.text(rules[member.name].written.format(f"\0_{member.name}\1"))
        for member in layout(stage, rules)
    )
    return text.replace("{", "{{").replace("}", "}}").replace("\0", "{").replace("\1", "}")
