"""The page: everything escaped, nothing loaded, every table one that can be read aloud."""

import html as entities
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genid_store.cli._values import values
from genid_store.fs.layout import DataRoot
from genid_store.generation import batches
from genid_store.report import page as page_module
from genid_store.report.collect import FAMILIES, Report
from genid_store.report.page import html, visible
from report_kit import HOSTILE, hostile_store, hostile_tables, report_on
from storekit import Store

ELEMENTS = {
    "html", "head", "meta", "title", "style", "body", "a", "header", "nav", "main", "footer",
    "section", "h1", "h2", "h3", "p", "ul", "ol", "li", "div", "span", "strong", "code", "br",
    "table", "caption", "thead", "tbody", "tr", "th", "td", "details", "summary", "svg", "rect",
    "path",
}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "http-equiv", "content", "name", "class", "href", "id", "tabindex", "role",
    "scope", "rowspan", "colspan", "aria-label", "aria-labelledby", "aria-describedby",
    "aria-hidden", "viewbox", "preserveaspectratio", "focusable", "x", "y", "width", "height",
    "rx", "d", "download",
}  # fmt: skip
VOID = {"meta", "br"}


class Reading(HTMLParser):
    """Reads a page: its elements, attributes, links, text, and whether its tags are balanced."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.ids: Counter[str] = Counter()
        self.text: list[str] = []
        self.open: list[str] = []
        self.bare_tables: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes |= {name for name, _ in attrs}
        found = dict(attrs)
        self.links += [found["href"] or ""] if "href" in found else []
        self.ids.update([found["id"] or ""] if "id" in found else [])
        if tag == "th" and "scope" not in found:
            self.bare_tables.append("th without scope")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)


@pytest.fixture(scope="module", params=["good tables", "broken tables", "no tables"])
def hostile_report(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Report:
    """A report on a store that is hostile in every field, under a hostile flag and root."""
    path = tmp_path_factory.mktemp("hostile") / "<b>root</b>"
    hostile_store(path)
    if request.param != "no tables":
        hostile_tables(path, broken=request.param == "broken tables")
    return report_on(path, HOSTILE[0])


def assert_harmless(page: str) -> Reading:
    """Nothing but the page's own elements, attributes and links is in it."""
    reading = Reading(page)
    assert set() == set(reading.elements) - ELEMENTS
    assert set() == reading.attributes - ATTRIBUTES
    assert 1 == reading.elements["style"]
    assert [] == [link for link in reading.links if not link.startswith(("#", "data:text/csv;"))]
    assert [] == reading.open
    return reading


def test_hostile_text_is_shown_and_does_nothing(hostile_report: Report) -> None:
    """Whatever stands in ids, metadata, tables, flags, file names and paths stays text."""
    reading = assert_harmless(html(hostile_report))
    text = "".join(reading.text)
    for hostile in HOSTILE:
        assert visible(hostile) in text
    assert "<b>root</b>" in text
    assert "\\udcff" in text


def test_every_table_has_a_caption_and_every_header_a_scope(mixed_report: Report) -> None:
    """Each table says what it is about, and each header cell what it heads."""
    reading = assert_harmless(html(mixed_report))
    assert reading.elements["table"] == reading.elements["caption"] > 10
    assert [] == reading.bare_tables
    assert reading.elements["svg"] > 10


def test_every_link_inside_the_page_leads_somewhere(mixed_report: Report) -> None:
    """Anchors are unique, and each one that is linked is there."""
    reading = Reading(html(mixed_report))
    assert [] == [anchor for anchor, count in reading.ids.items() if count > 1]
    assert set() == {link[1:] for link in reading.links if link.startswith("#")} - set(reading.ids)


def test_every_scroll_region_can_be_reached_by_keyboard(mixed_report: Report) -> None:
    """What scrolls has a tab stop, a role and a name."""
    page = html(mixed_report)
    regions = re.findall(
        r'<div class="scroll[^"]*"[^>]*>', page.replace('<div class="scroll"><svg', "")
    )
    assert len(regions) > 10
    assert all('role="region" tabindex="0" aria-label="' in region for region in regions)


def test_a_report_is_the_same_for_the_same_store(mixed_report: Report) -> None:
    """One store, one page, byte for byte; only the moment can differ."""
    again = report_on(Path(mixed_report.root))
    assert html(mixed_report) == html(again)


@given(st.text())
def test_text_stays_readable_and_nothing_in_it_is_hidden(text: str) -> None:
    """What shows is kept; what does not show is written as an escape that shows."""
    shown = visible(text)
    shown.encode("utf-8")
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u200b\ufeff" for c in shown)
    assert not text.isprintable() or text == shown


def test_the_page_says_what_a_value_is() -> None:
    """An override of the text's direction is named, not obeyed."""
    assert "a\\u202eb\\x00" == visible("a\u202eb\0")
    assert "größe — 図" == visible("größe — 図")
    assert "&lt;" == entities.escape("<")


def test_the_page_begins_with_a_verdict_and_the_next_command(mixed_report: Report) -> None:
    """One sentence and one command, ready to be run, stand before every number."""
    sentence, command = mixed_report.verdict
    header = html(mixed_report).partition("</header>")[0].partition('<ul class="tiles">')[0]
    assert f"<strong>{sentence}</strong><br>Next: <code>{entities.escape(command)}</code>" in header
    assert command == f"genid store audit --data-root {mixed_report.root}"
    assert re.search(r"not sound: [0-9]+ findings", sentence)


def test_what_is_code_in_a_remedy_is_code_on_the_page(mixed_report: Report) -> None:
    """Backticks are a terminal's; a page marks code, and escapes what stands in it."""
    page = html(mixed_report)
    assert "`" not in re.sub(r"<style>.*?</style>", "", page, flags=re.S)
    render = page_module._code
    assert "run <code>&lt;b&gt;</code> &amp; wait" == render("run `<b>` & wait")
    assert "a stray ` stays" == render("a stray ` stays")


def test_deterministic_ids_are_counted_by_family(mixed_report: Report) -> None:
    """v1 and phase-1 are told apart where they are counted together."""
    v1, phase_1 = mixed_report.of_family("v1"), mixed_report.of_family("phase-1")
    assert 0 < v1
    assert 0 < phase_1
    assert f"with a deterministic id: {v1} v1, {phase_1} phase-1" in html(mixed_report)


def test_every_generation_counts_once_in_its_stage_and_family(
    mixed: Store, mixed_report: Report
) -> None:
    """By family, and with or without a text, each stage's counts come to the same."""
    assert ["draft", "essay", "evaluation"] == [one.stage for one in mixed_report.stages]
    root = DataRoot.open(mixed.path)
    for stage in mixed_report.stages:
        folders = [one for one in root.stage(stage.stage).iterdir() if one.is_dir()]
        assert len(folders) == stage.total == sum(map(len, stage.families.values()))
        assert list(FAMILIES) == list(stage.families)
        made = sum((folder / "parsed.txt").is_file() for folder in folders)
        assert made == len(stage.made) > 0


def test_a_number_leads_to_the_ids_behind_it(mixed_report: Report) -> None:
    """What is counted is listed under the anchor that its number links to, up to fifty ids."""
    page = html(mixed_report)
    legacy = mixed_report.stages[0].families["legacy"]
    (anchor,) = re.findall(r'href="#(ids-\d+)" aria-label="\d+: drafts with a legacy id', page)
    shown = page.partition(f'<h3 id="{anchor}">')[2].partition("</p>")[0]
    assert 0 < len(legacy)
    assert legacy.first[:50] == re.findall(r'<span class="id">(.*?)</span>', shown)


def test_a_bar_shows_how_the_essays_of_a_column_stand(mixed_report: Report) -> None:
    """Complete, begun and without any, as the numbers beside it."""
    rows = html(mixed_report).partition("Essays per evaluation template and model")[2]
    columns = [one for one in mixed_report.coverage.columns if one.wanted]
    for column, row in zip(columns, rows.split("</svg>")[: len(columns)], strict=True):
        groups = {"full": column.full, "partial": column.partial, "none": column.none}
        shown = [(name, f"{len(ids)}") for name, ids in groups.items() if ids]
        assert shown == re.findall(r"<title>(\w+): (\d+)</title>", row)


def test_what_is_in_a_batch_is_said_with_how_to_go_on(tmp_path: Path) -> None:
    """Since when, and how much is done; on the page, in the verdict and in the JSON."""
    (tmp_path / "gens").mkdir()
    root = DataRoot.open(tmp_path)
    batch = batches.Batch(
        key="b_1", stage="draft", state="submitted", since="2026-01-02T03:04:05+00:00",
        members={"t1": "d1", "t2": "d2", "t3": "d3"}, handle="at-theirs", done=2,
    )  # fmt: skip
    batches.write(root, batch)
    report = report_on(root.path)
    assert "draft: in a batch since 2026-01-02T03:04:05+00:00, 2 of 3 done (b_1)" in html(report)
    [shown] = values(report)["batches"]
    assert ("b_1", 3, 2) == (shown["key"], len(shown["members"]), shown["done"])
    sentence, command = report.verdict
    assert "open batches at a provider: 1" in sentence
    assert command.startswith("genid batch list")
