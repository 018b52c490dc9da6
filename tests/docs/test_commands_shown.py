"""The documentation names every command and every option of the command line, and no others."""

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

from genid_store.cli import genid

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), HERE.parents[1] / "README.md"]
#: The stages that a page declares itself; the transcript shows that they can be derived.
OWN = {"question"}


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


STEPS = [
    step for page in PAGES for session in _load("transcripts").sessions(page) for step in session
]


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of a command and of everything below it."""
    yield path
    if isinstance(command, click.Group):
        with click.Context(command) as ctx:
            for name in command.list_commands(ctx):
                found = command.get_command(ctx, name)
                assert found is not None
                yield from walk(found, (*path, name))


def at(path: tuple[str, ...]) -> click.Command:
    """Return the command that some words name."""
    command: click.Command = genid
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    return command


def options(path: tuple[str, ...]) -> set[str]:
    """Return the names of a command's options, as they are typed."""
    params = at(path).get_params(click.Context(at(path)))
    return {name for one in params for name in one.opts if name.startswith("-")}


COMMANDS = list(walk(genid))
VERBS = [path for path in COMMANDS if not isinstance(at(path), click.Group)]


def calls(text: str) -> Iterator[list[str]]:
    """Yield the words after each `genid` that a shell command or a sentence's code calls."""
    words = shlex.split(text.replace("\\\n", " "), comments=False)
    while "genid" in words:
        words = words[words.index("genid") + 1 :]
        end = next((at for at, word in enumerate(words) if set(word) <= set("|;&<>")), len(words))
        yield words[:end]


def parts(words: list[str]) -> tuple[tuple[str, ...], set[str]]:
    """Return the command that is called and the options that it is given."""
    path: tuple[str, ...] = ()
    for word in words:
        if (*path, word) in COMMANDS:
            path = (*path, word)
    given = (word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word))
    return path, {word.rstrip("…") for word in given}


def name(path: tuple[str, ...]) -> str:
    return " ".join(("genid", *path))


def test_the_written_pages_are_current() -> None:
    """`python tests/docs/written_pages.py` would change none of them."""
    for page, text in _load("written_pages").pages().items():
        assert text == page.read_text(encoding="utf-8"), page.name


@pytest.mark.parametrize("path", VERBS, ids=name)
def test_every_command_is_on_a_page_that_says_what_it_is_for(path: tuple[str, ...]) -> None:
    """Each is called on some page besides the one that lists all of them."""
    assert [page.name for page in PAGES if page.stem != "commands" and path in called(page)]


def codes(page: Path) -> list[str]:
    """Return every `genid …` in a sentence, a block or a transcript of a page."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"`(genid [a-z][^`]*)`", text.replace("\n", " "))
    for block in re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        found += [line.partition("#")[0] for line in block.splitlines() if "genid " in line]
    # What a here-document holds is no shell command.
    steps = [step for step in STEPS if step.page == page.name]
    return found + [step.command.partition("<<")[0] for step in steps]


def called(page: Path) -> set[tuple[str, ...]]:
    """Return the commands that a page calls."""
    return {parts(words)[0] for code in codes(page) for words in calls(code)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_calls_is_there(page: Path) -> None:
    """Every `genid …` in a sentence, a block or a transcript names a command and its options."""
    wrong = []
    for code in codes(page):
        for words in calls(code):
            path, given = parts(words)
            known = options(path) | ({"--help"} if path == () else set())
            first = words[len(path)] if len(words) > len(path) else ""
            if path == ("derive",) and first in OWN:
                continue
            if isinstance(at(path), click.Group) and re.match(r"[a-z]", first):
                wrong.append(f"{code}: {name(path)} has no {first}")
            wrong += [f"{code}: {name(path)} has no {one}" for one in sorted(given - known)]
    assert [] == wrong
