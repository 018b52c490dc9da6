"""Every command shown in the documentation was run, and printed what is shown."""

import ast
import doctest
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), HERE.parents[1] / "README.md"]
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("transcripts", HERE / "transcripts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


transcripts = _load()
SESSIONS = [
    pytest.param(session, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, session in enumerate(transcripts.sessions(page))
]


@pytest.mark.parametrize("session", SESSIONS)
def test_commands_print_what_the_page_shows(session: list, tmp_path: Path) -> None:  # type: ignore[type-arg]
    """A page's console session, run in order on a copy of the example, prints what is shown."""
    transcripts.prepare(tmp_path)
    wrong = []
    for step in session:
        printed = transcripts.run(step.command, tmp_path)
        if not doctest.OutputChecker().check_output(
            f"{step.shown.strip()}\n", f"{printed.strip()}\n", SAME
        ):
            wrong.append(f"{step.page}:{step.line}: $ {step.command}\n{printed}")
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_examples_run(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The python blocks of a page run in order, beside a copy of the example, and print what their
    `# …` comments say. A block that says `# not run` is only parsed."""
    transcripts.prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in PYTHON.findall(page.read_text(encoding="utf-8")):
        if "# not run" in block:
            ast.parse(block)
            continue
        exec(compile(block, page.name, "exec"), namespace)
        expected = [
            line.split("#", 1)[1].strip()
            for line in block.splitlines()
            if re.match(r"print\(.*\)\s+# ", line)
        ]
        assert expected == [line.strip() for line in capsys.readouterr().out.splitlines()]
