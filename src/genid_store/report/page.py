"""The report as a page: its record and a template in, one self-contained HTML document out.

Every value is escaped, and characters that do not show or that turn the direction of text are
written as escapes. The page may load and run nothing (its own Content-Security-Policy says so); its
style stands in it.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import unicodedata
from importlib.resources import files
from typing import Any, Final

import jinja2
from markupsafe import Markup, escape

from genid_store.catalog.findings import KINDS
from genid_store.report.collect import FAMILIES, Report
from genid_store.report.drawing import bar
from genid_store.report.listed import Listed

_HERE: Final = "genid_store.report"
#: What no reader sees or what misleads one: control, format, surrogate, private, line separators.
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


class IdLists:
    """The ids behind the numbers of a page: `link` gives a number's link to its list, and the page
    writes the lists that were asked for at its end."""

    def __init__(self) -> None:
        self.found: list[tuple[str, Listed]] = []

    def link(self, title: str, ids: Listed) -> Markup | str:
        """Return how many ids there are as a link to them; 0 is none. An id is a text, or a pair
        (stage, id)."""
        if not ids:
            return "0"
        self.found.append((title, ids))
        link = Markup('<a href="#ids-{}" aria-label="{}: {}">{}</a>')  # format escapes the rest
        count = grouped(len(ids))
        return link.format(len(self.found), count, visible(title), count)


def html(report: Report) -> str:
    """Return the report as one self-contained HTML page."""
    return render("report.html.j2", report=report, families=FAMILIES, kinds=KINDS, lists=IdLists())


def render(template: str, **context: object) -> str:
    """Return the page that `template` (a name in `templates/`) makes of `context`.

    jinja2.UndefinedError: the template names something that `context` lacks.
    """
    style = (files(_HERE) / "templates" / "style.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = _environment().get_template(template)
    return page.render(style=Markup(style), style_digest=digest, **context)  # noqa: S704 (ours)


def visible(text: str) -> str:
    r"""Return a text with every character that does not show written as `\x00` or `\u202e`."""
    if text.isprintable():
        return text
    return "".join(
        ascii(character)[1:-1] if unicodedata.category(character) in _HIDDEN else character
        for character in text
    )


def grouped(number: int) -> str:
    """Return a number with its thousands set apart."""
    return f"{number:,}".replace(",", "\u202f")


def _finalize(value: Any) -> Any:
    return visible(value) if type(value) is str else value


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(_HERE, "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
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
    """Return a text, escaped, whose parts between backticks are code."""
    parts = [escape(visible(part)) for part in text.split("`")]
    if len(parts) % 2 == 0:  # a backtick without its fellow is one of the text's
        parts[-2:] = [parts[-2] + "`" + parts[-1]]
    return Markup("").join(  # every part is escaped
        Markup("<code>{}</code>").format(part) if at % 2 else part for at, part in enumerate(parts)
    )


def _data_url(text: str, kind: str) -> str:
    """Return a text as a link that holds it: a download that asks no server."""
    return f"data:{kind};base64,{base64.b64encode(text.encode('utf-8', 'replace')).decode()}"
