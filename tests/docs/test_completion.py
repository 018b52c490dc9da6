"""Completion in the shell as `docs/commands.md` describes it, asked as the shells ask it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from genid_store.cli import run

#: Runs the command as its entry point does, and says on standard error what it has imported.
ENTRY = (
    "import sys; from genid_store.__main__ import main\n"
    "try: sys.exit(main())\n"
    "finally: print(*sorted({'dagster', 'rich', 'pyarrow'} & set(sys.modules)), file=sys.stderr)\n"
)
HELP_OF_ROLLBACK = "Give the store back as it was before a migration."


def ask(
    words: str, *, shell: str = "bash", folder: Path | None = None
) -> tuple[list[list[str]], str]:
    """Return what is offered for the last of some words (type and value, as the shell's form has
    them), and what of the heavy libraries was imported for that."""
    typed = [*words.split(), *([""] if words.endswith(" ") else [])]
    at = typed[-1] if shell == "fish" else str(len(typed) - 1)
    done = subprocess.run(
        [sys.executable, "-c", ENTRY],
        cwd=folder,
        env={
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "COMP_WORDS": words,
            "COMP_CWORD": at,
            "_GENID_COMPLETE": f"{shell}_complete",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    lines = filter(None, done.stdout.splitlines())
    return [line.split(",", 1) for line in lines], done.stderr.strip()


def values(words: str, *, folder: Path | None = None) -> list[str]:
    offered, imported = ask(words, folder=folder)
    assert "" == imported
    return [value for _, value in offered]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            "genid ",
            [
                "batch",
                "cohort",
                "dagster",
                "derive",
                "explain",
                "init",
                "report",
                "rollout",
                "store",
            ],
        ),
        ("genid cohort ", ["build", "compare", "list", "run", "status"]),
        ("genid store r", ["rollback"]),
        ("genid derive e", ["essay", "evaluation"]),
        ("genid store migrate --d", ["--data-root", "--dry-run"]),
        ("genid derive draft --scheme ", ["v1", "phase-1"]),
        ("genid cohort compare --after dr", ["draft", "draft,essay"]),
    ],
)
def test_commands_options_and_values_are_completed(words: str, expected: list[str]) -> None:
    """Through the groups that load their commands when they are used; Dagster stays away."""
    assert sorted(expected) == sorted(values(words))


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("genid store audit --data-root da", "dir"),
        ("genid cohort run --generate ho", "file"),
    ],
)
def test_folders_and_files_are_left_to_the_shell(words: str, kind: str) -> None:
    """It completes names of the disk better than anybody."""
    assert ([[kind, words.rsplit(maxsplit=1)[-1]]], "") == ask(words)


@pytest.mark.parametrize("command", ["cohort status", "cohort run"])
def test_cohorts_of_the_data_root_are_completed(tmp_path: Path, command: str) -> None:
    """Where the data root is given before; without one, or without cohorts, nothing is offered."""
    for name in ("winter", "weekly", "spring"):
        (tmp_path / "data" / "cohorts" / name).mkdir(parents=True)
    asked = f"genid {command} --data-root {{}} --cohort-id w"
    assert ["weekly", "winter"] == values(asked.format("data"), folder=tmp_path)
    assert [] == values(asked.format("nowhere"), folder=tmp_path)
    assert [] == values(f"genid {command} --cohort-id w", folder=tmp_path)


@pytest.mark.parametrize(
    ("shell", "expected"),
    [
        ("bash", [["plain", "rollback"]]),
        ("zsh", [["plain"], ["rollback"], [HELP_OF_ROLLBACK]]),
        ("fish", [["plain", f"rollback\t{HELP_OF_ROLLBACK}"]]),
    ],
)
def test_every_documented_shell_is_answered(shell: str, expected: list[list[str]]) -> None:
    """bash, zsh and fish, each in its own form; the latter two show what a command is for."""
    assert (expected, "") == ask("genid store ro", shell=shell)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_that_a_shell_loads(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It asks `genid` by the variable that the page names."""
    monkeypatch.setenv("_GENID_COMPLETE", f"{shell}_source")
    with pytest.raises(SystemExit):
        run([])
    script = capsys.readouterr().out
    assert f"_GENID_COMPLETE={shell}_complete" in script


def test_bash_completes_a_line(tmp_path: Path) -> None:
    """The line of the page for `~/.bashrc`, loaded by a bash and asked for `genid store r`."""
    script = (
        'eval "$(_GENID_COMPLETE=bash_source genid)"; COMP_WORDS=(genid store r); COMP_CWORD=2;'
        ' _genid_completion genid; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        env={"PATH": path, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ["rollback"] == done.stdout.split()
