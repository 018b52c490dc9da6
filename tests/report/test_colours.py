"""Contrast of the style's colours, computed: text 4.5 to 1, pictures 3 to 1, in light and dark."""

import re
from importlib.resources import files

import pytest

STYLE = (files("genid_store.report") / "templates" / "style.css").read_text("utf-8")
LIGHT, DARK = re.findall(r":root \{(.*?)\n *\}", STYLE, re.DOTALL)


def colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", block))


SCHEMES = {"light": colours(LIGHT), "dark": colours(DARK)}


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2: 0 black to 1 white."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_it_stands_on(scheme: str) -> None:
    """Every --on-x on its --x, and plain, soft and linked text on page and panel: 4.5 to 1."""
    used = SCHEMES[scheme]
    pairs = [(f"on-{name}", name) for name in used if f"on-{name}" in used]
    pairs += [(text, back) for text in ("text", "soft", "link") for back in ("page", "panel")]
    assert len(pairs) > 12
    assert [] == [pair for pair in pairs if contrast(used[pair[0]], used[pair[1]]) < 4.5]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_stand_out_from_the_page(scheme: str) -> None:
    """Every colour that a picture says something with: 3 to 1 against the page."""
    used = SCHEMES[scheme]
    drawn = [
        "v1", "phase-1", "legacy", "foreign", "unverifiable", "kept", "existing", "make",
        "repeated", "mark-full", "mark-partial", "mark-none", "focus",
    ]  # fmt: skip
    assert [] == [name for name in drawn if contrast(used[name], used["page"]) < 3]


def test_both_schemes_define_the_same_colours() -> None:
    """No colour of the light scheme is left over in the dark one."""
    assert SCHEMES["light"].keys() == SCHEMES["dark"].keys()


def test_every_colour_is_one_of_the_checked() -> None:
    """Outside the two lists no rule names a colour of its own."""
    rules = STYLE.replace(LIGHT, "").replace(DARK, "")
    assert [] == re.findall(r"#[0-9a-fA-F]{3,8}\b|rgba?\(|hsla?\(", rules)
