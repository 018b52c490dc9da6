"""A signature's canonical bytes: one JSON object by RFC 8785 (SPEC 2)."""

import re
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

import attrs

from genid._rules import Rule

FORMAT = 1  # SPEC 2.2: the number of this format, inside the bytes


@attrs.frozen(kw_only=True)
class Form:
    """The canonical text of one set of present fields, ready to be filled in.

    `pick` takes the values out of a mapping of fields in the order that `template` writes them;
    `settled` tells whether a filled-in text holds nothing that is still to be checked or folded.
    """

    template: str
    pick: Callable[[Mapping[str, object]], Any]
    settled: Callable[[str], object]

    def fill(self, fields: Mapping[str, object]) -> str:
        """Return the canonical text of normalized `fields`."""
        text: str = self.template % self.pick(fields)
        return text


def form(stage: str, rules: Mapping[str, Rule]) -> Form:
    """Lay out the canonical text of `stage` with exactly the fields in `rules` (SPEC 2.1-2.4).

    RFC 8785 sorts members by name; all names are ASCII, so sorting them as strings is that. No
    value can hold a character that JSON escapes (SPEC 1.4), so writing is plain substitution.
    """
    fixed = {"genid": str(FORMAT), "stage": f'"{stage}"'}
    written = fixed | {name: rule.written for name, rule in rules.items()}
    settled = {name: re.escape(text) for name, text in fixed.items()}
    settled |= {name: rule.settled for name, rule in rules.items()}
    return Form(
        template="{" + ",".join(f'"{name}":{written[name]}' for name in sorted(written)) + "}",
        pick=itemgetter(*sorted(rules)),
        settled=re.compile(
            r"\{" + ",".join(f'"{name}":{settled[name]}' for name in sorted(settled)) + r"\}"
        ).fullmatch,
    )
