"""Render the report as one self-contained HTML document.

Every value is escaped for HTML, and invisible or bidirectional control characters are written as
Python escapes. The page contains its style sheet; its Content-Security-Policy forbids it to load or
run anything.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import unicodedata
from importlib.resources import files
from typing import Final

import jinja2
from markupsafe import Markup, escape

from genid_store.catalog.findings import KINDS
from genid_store.report.collect import FAMILIES, Report
from genid_store.report.drawing import bar
from genid_store.report.listed import Listed

_HERE: Final = "genid_store.report"
#: Characters that are invisible or misleading: control, format, surrogate, private, separators.
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


class IdLists:
    """The lists of ids that the numbers of a page link to; the page prints them at its end."""

    def __init__(self) -> None:
        self.found: list[tuple[str, Listed]] = []

    def link(self, title: str, ids: Listed) -> Markup | str:
        """Return the number of ids as a link to their list, or "0".

        `ids` has texts, or pairs (stage, id).
        """
        if not ids:
            return "0"
        self.found.append((title, ids))
        link = Markup('<a href="#ids-{}" aria-label="{}: {}">{}</a>')  # `format` escapes
        count = grouped(len(ids))
        return link.format(len(self.found), count, visible(title), count)


def html(report: Report) -> str:
    """Return the report as one self-contained HTML page."""
    return render("report.html.j2", report=report, families=FAMILIES, kinds=KINDS, lists=IdLists())


def render(template: str, **context: object) -> str:
    """Render a template of the folder `templates/`.

    jinja2.UndefinedError: the template uses a name that is not in `context`.
    """
    style = (files(_HERE) / "templates" / "style.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = _environment().get_template(template)
    return page.render(style=Markup(style), style_digest=digest, **context)  # noqa: S704 (ours)


def visible(text: str) -> str:
    r"""Return a text with invisible characters as escapes: `\x00`, `\u202e`."""
    if text.isprintable():
        return text
    return "".join(
        ascii(character)[1:-1] if unicodedata.category(character) in _HIDDEN else character
        for character in text
    )


def grouped(number: int) -> str:
    """Return a number with a thin space between its thousands."""
    return f"{number:,}".replace(",", "\u202f")


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(_HERE, "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: visible(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["bar"] = bar
    environment.filters["count"] = grouped
    environment.filters["code"] = _code
    environment.filters["data_url"] = _data_url
    environment.filters["zip"] = zip
    return environment


def _code(text: str) -> Markup:
    """Return a text, escaped, with the parts between backticks as code."""
    parts = [escape(visible(part)) for part in text.split("`")]
    if len(parts) % 2 == 0:  # the last backtick has no partner: it belongs to the text
        parts[-2:] = [parts[-2] + "`" + parts[-1]]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if at % 2 else part for at, part in enumerate(parts)
    )


def _data_url(text: str, kind: str) -> str:
    """Return a data URL of a text, for a download without a server."""
    return f"data:{kind};base64,{base64.b64encode(text.encode('utf-8', 'replace')).decode()}"
