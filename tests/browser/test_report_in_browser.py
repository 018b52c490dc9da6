"""The report in a real browser: it asks nobody, obeys nothing, and can be read and operated."""

from pathlib import Path

import pytest

from browser_kit import CONTRAST, Browser

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("page", ["large_page", "hostile_page"])
def test_the_page_asks_no_server_and_runs_nothing(
    browser: Browser, request: pytest.FixtureRequest, page: str
) -> None:
    """The one request is the page itself; hostile text runs nothing, and no policy is tripped."""
    path: Path = request.getfixturevalue(page)
    browser.open(path)
    browser.open_details()
    assert [path.as_uri()] == browser.requests()
    assert [] == browser.complaints()
    assert browser.script("return window.pwned === undefined")
    assert 0 == browser.script("return document.querySelectorAll('script, img, b, iframe').length")


def test_even_an_injected_script_would_not_run(browser: Browser, tmp_path: Path) -> None:
    """The page's own policy is a second wall: markup that got in could run and load nothing."""
    from genid_store.report.page import render

    text = render("page.html.j2").replace(
        "</main>", "<script>window.pwned=1</script><img src='http://x.invalid/' onerror='pwned=1'>"
    )
    page = tmp_path / "page.html"
    page.write_text(text)
    browser.open(page)
    assert browser.script("return window.pwned === undefined")
    complaints = " ".join(browser.complaints())
    assert "script-src" in complaints or "default-src" in complaints
    assert [page.as_uri()] == browser.requests()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", ["report_page", "hostile_page"])
def test_everything_written_has_contrast(
    browser: Browser, request: pytest.FixtureRequest, page: str, scheme: str
) -> None:
    """Computed from the colours in use: text 4.5 to 1, drawn shapes 3 to 1."""
    browser.open(request.getfixturevalue(page), scheme=scheme)
    browser.open_details()
    found = browser.script(CONTRAST)
    limits = {"text": 4.5, "shape": 3.0}
    assert len(found) > 300
    assert [] == [[kind, ratio, what] for kind, ratio, what in found if ratio < limits[kind]]


def test_light_and_dark_are_different(browser: Browser, report_page: Path) -> None:
    """The page follows the reader's scheme."""
    backgrounds = set()
    for scheme in ("light", "dark"):
        browser.open(report_page, scheme=scheme)
        backgrounds.add(browser.script("return getComputedStyle(document.body).backgroundColor"))
    assert 2 == len(backgrounds)


@pytest.mark.parametrize("width", [320, 768, 1280])
@pytest.mark.parametrize("page", ["report_page", "hostile_page"])
def test_only_tables_scroll_sideways(
    browser: Browser, request: pytest.FixtureRequest, page: str, width: int
) -> None:
    """The page itself fits into the window at any width; wide tables scroll in their region."""
    browser.open(request.getfixturevalue(page), width=width)
    browser.open_details()
    assert width == browser.script("return document.documentElement.scrollWidth")


def test_a_phone_shows_what_is_to_be_paid_for(browser: Browser, report_page: Path) -> None:
    """At 400 pixels the money column is in sight beside the state, without scrolling."""
    browser.open(report_page, width=400)
    edges = browser.script(
        "return [...document.querySelectorAll('.money')].map(e => e.getBoundingClientRect().right)"
    )
    assert len(edges) > 3
    assert max(edges) <= 400


def test_the_skip_link_comes_first_and_leads_to_the_content(
    browser: Browser, report_page: Path
) -> None:
    """The first tab stop shows the skip link; Enter moves the focus into the content."""
    from selenium.webdriver.common.keys import Keys

    browser.open(report_page)
    browser.press(Keys.TAB)
    assert "skip" == browser.script("return document.activeElement.className")
    assert browser.script("return document.activeElement.getBoundingClientRect().left") >= 0
    browser.press(Keys.ENTER)
    assert "main" == browser.script("return document.activeElement.id")


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_ends_in_the_middle_of_a_row(
    browser: Browser, large_page: Path, width: int
) -> None:
    """No table has a height of its own: each is shown to its last row, and what scrolls does so
    sideways, by the keyboard too, and shows that by a bar."""
    from selenium.webdriver.common.keys import Keys

    browser.open(large_page, width=width)
    browser.open_details()
    assert [] == browser.script(
        "return [...document.querySelectorAll('.scroll')].filter("
        "e => e.clientHeight < e.scrollHeight).map(e => e.ariaLabel)"
    )
    wide = browser.script(
        "return [...document.querySelectorAll('.scroll')].filter("
        "e => e.clientWidth < e.scrollWidth).map("
        "e => parseFloat(getComputedStyle(e, '::-webkit-scrollbar').height))"
    )
    assert wide
    assert min(wide) >= 10
    region = "document.querySelector('[aria-label=\"Evaluations of every essay\"]')"
    assert 50 == browser.script(f"return {region}.querySelectorAll('tbody tr').length")
    browser.script(f"{region}.focus()")
    browser.press(Keys.ARROW_RIGHT)
    _until(browser, f"return {region}.scrollLeft > 0")


def _until(browser: Browser, condition: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser.driver, 10).until(lambda _: browser.script(condition))


def test_details_open_by_keyboard_and_by_a_link_to_what_they_hold(
    browser: Browser, report_page: Path
) -> None:
    """Enter opens what is folded, and following a finding's code opens its places."""
    from selenium.webdriver.common.keys import Keys

    browser.open(report_page)
    browser.script("document.querySelector('#findings summary').focus()")
    browser.press(Keys.ENTER)
    assert browser.script("return document.querySelector('#findings details').open")
    browser.press(Keys.ENTER)
    assert not browser.script("return document.querySelector('#findings details').open")
    browser.script("document.querySelector('#findings tbody a').focus()")
    browser.press(Keys.ENTER)
    _until(browser, "return document.querySelector('#findings details').open")


def test_every_table_is_named_for_those_who_hear_it(browser: Browser, report_page: Path) -> None:
    """In the accessibility tree every table has its caption as name, and pictures are left out."""
    browser.open(report_page)
    browser.open_details()
    nodes = browser.command("Accessibility.getFullAXTree")["nodes"]
    seen = [node for node in nodes if not node["ignored"]]
    roles = [node["role"]["value"] for node in seen if "role" in node]
    tables = [node for node in seen if node.get("role", {}).get("value") == "table"]
    assert len(tables) > 10
    assert [] == [node for node in tables if not node["name"]["value"]]
    assert {"rowheader", "columnheader", "main", "navigation", "banner", "contentinfo"} <= set(
        roles
    )
    assert not {"SvgRoot", "image"} & set(roles)


def test_the_map_shows_missing_replicates(browser: Browser, report_page: Path) -> None:
    """Each cell says which replicates are missing, to the eye and to the ear."""
    browser.open(report_page)
    cell = "document.querySelector('.heat td.c-partial')"
    assert "○" in browser.script(f"return {cell}.innerText") or "◐" in browser.script(
        f"return {cell}.innerText"
    )
    words = browser.script(f"return {cell}.querySelector('.sr').textContent")
    assert "missing" in words or "waiting" in words
