"""What `docs/errors.md` and `docs/commands.md` promise of every command: exit statuses, the one
shape of a refusal, colour and progress on terminals alone."""

import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from genid_store.cli import genid, run
from genid_store.cli._output import progress_bar

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "daydreaming"
#: The name of a file or a cohort that is no UTF-8, as Python reads it from the disk.
LONE = os.fsdecode(b"\xff\xfe")
GENERATE = ["--generate", f"{EXAMPLE}/host.py:offline"]
FIELDS = ["--template-id", "t", "--llm-model-id", "m", "--replicate", "1"]

#: One way to have each command refuse, and the exit status of it.
REFUSED = [
    (["cohort", "build", "--cohort-id", LONE], 1),
    (["cohort", "build", "--k-max", "0"], 2),
    (["cohort", "run", "--cohort-id", LONE, *GENERATE], 1),
    (["cohort", "run", "--cohort-id", "c", "--generate", "nowhere.py:f"], 2),
    (["cohort", "compare", "--cohort-id", LONE], 1),
    (["cohort", "compare", "--after", "sometimes"], 2),
    (["cohort", "status", "--cohort-id", LONE], 1),
    (["cohort", "list", "--what"], 2),
    (["store", "audit", "--data-root", "nowhere"], 2),
    (["cohort", "run", "--cohort-id", "c"], 2),
    (["store", "migrate", "--resume"], 1),
    (["store", "migrate", "--plan", "p"], 2),
    (["store", "rollback"], 1),
    (["store", "rollback", "--plan", LONE], 2),
    (["store", "migrate", "--finish", "--yes"], 1),
    (["dagster", "sync", "--what"], 2),
    (["report", "--out", "data/genid.toml/page.html"], 1),
    (["batch", "list", "--what"], 2),
    (["batch", "cancel"], 2),
    (["rollout", "finish", "--what"], 2),
    (["store", "unreuse", "--what"], 2),
    (["explain", LONE], 1),
    (["explain", "no-such-id"], 1),
    (["explain", LONE, "no-such-id"], 1),
    (["explain"], 2),
    (["derive", "draft", "--combo-id", LONE, *FIELDS], 1),
    (["derive", "essay"], 2),
    (["derive", "evaluation", "--parent-gen-id", "a b", *FIELDS], 1),
    (["init", "data"], 1),
    (["init"], 2),
    (["store", "nothing"], 2),
]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A copy of the example's data root, and nothing else from outside."""
    for name in ("DAGSTER_HOME", "DD_COHORT", "DD_DETERMINISTIC_GEN_IDS", "DD_GEN_ID_SCHEME"):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(EXAMPLE / "data", tmp_path / "data")
    monkeypatch.setenv("GENID_DATA_ROOT", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def outcome(words: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
    """Return exit status, output and errors of a command, its streams as the entry point has
    them."""
    out, err = io.BytesIO(), io.BytesIO()
    for name, stream in (("stdout", out), ("stderr", err)):
        escaping = io.TextIOWrapper(stream, "utf-8", errors="backslashreplace", write_through=True)
        monkeypatch.setattr(sys, name, escaping)
    return run(words), out.getvalue().decode("utf-8"), err.getvalue().decode("utf-8")


@pytest.mark.parametrize(("words", "status"), REFUSED)
def test_a_refusal_has_one_shape(
    words: list[str], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words on standard error alone; with --json also one document, strictly JSON, on standard
    output."""
    told, out, err = outcome(words, monkeypatch)
    assert (status, "", True) == (told, out, err.startswith(("genid: ", "Usage: genid")))
    told, out, err = outcome([*words, "--json"], monkeypatch)
    assert status == told
    document = json.loads(out)
    assert ["error", "problems"] == list(document)
    assert document["error"]
    for problem in document["problems"]:
        assert (
            {"where", "message", "remedy"}
            <= set(problem)
            <= {"where", "message", "remedy", "value"}
        )
    assert "Traceback" not in err


def test_every_command_is_among_the_refused() -> None:
    """So that a new one keeps the promise, too."""

    def verbs(group: click.Group) -> set[str]:
        names = set()
        for name in group.list_commands(click.Context(group)):
            found = group.get_command(click.Context(group), name)
            below = verbs(found) if isinstance(found, click.Group) else set()
            names |= {f"{name} {verb}" for verb in below} or {name}
        return names

    shown = {" ".join(words[:2]) for words, _ in REFUSED} | {words[0] for words, _ in REFUSED}
    assert set() == verbs(genid) - shown


@pytest.mark.parametrize("words", [["store", "audit"], ["cohort", "list"], ["store", "migrate"]])
def test_names_that_are_no_utf8_are_printed_as_json(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever such a name stands: strictly JSON, and no traceback."""
    for place in ("gens/draft", "gens/essay", "cohorts", "1_raw", "2_tasks"):
        os.makedirs(os.fsencode(tmp_path / "data" / place) + b"/\xff\xfe")
    status, out, err = outcome([*words, "--json"], monkeypatch)
    assert (status in (0, 1), "") == (True, err)
    json.loads(out)


def test_without_dagster_a_command_says_how_to_get_it(tmp_path: Path) -> None:
    """With the extra that brings it, status 1, nothing written."""
    code = (
        "import sys; sys.modules['dagster'] = None\n"
        "from genid_store.cli import run; sys.exit(run(sys.argv[1:]))"
    )
    words = ["dagster", "sync"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert (1, "") == (done.returncode, done.stdout)
    assert "pip install '.[dagster]'" in done.stderr
    assert not (tmp_path / "data" / "cohorts").exists()


def test_a_page_goes_into_a_folder_that_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistyped path makes no folders; what was asked for is not begun."""
    assert 2 == run(["report", "--out", "nowhere/below/page.html"])
    assert "the folder nowhere/below does not exist; create it" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()
    assert not (tmp_path / "data" / ".genid").exists()


def test_what_the_system_refuses_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A right that is missing or a mount that is gone ends with words and status 1."""

    def lost(path: str) -> None:
        raise PermissionError(13, "Permission denied", "cohorts")

    monkeypatch.setattr(os, "listdir", lost)
    assert 1 == run(["cohort", "list", "--json"])
    out, err = capsys.readouterr()
    assert "genid: a file operation failed" in err
    assert "cohorts" == json.loads(out)["problems"][0]["where"]


def test_what_the_hosts_module_raises_is_no_refusal_of_the_systems(tmp_path: Path) -> None:
    """Libraries have OSErrors of their own, without a number: their text, file and line are kept,
    in one error."""
    host = tmp_path / "revoked.py"
    (tmp_path / "1_raw").mkdir()
    host.write_text("class Refused(IOError): pass\nraise Refused('401 the key is revoked')\n")
    words = ["cohort", "run", "--data-root", str(tmp_path), "--generate", f"{host}:make"]
    done = subprocess.run(
        [sys.executable, "-m", "genid_store", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 2 == done.returncode
    assert f"{host}:2: raises Refused: 401 the key is revoked" in done.stderr
    assert "Traceback" not in done.stderr
    assert "the system" not in done.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"replicate": ' + "9" * 4301 + "}", "has a number of thousands of digits"),
        (
            '{"combo_id": ' + "[" * 9_999,
            "cannot be read: the document is nested more than 100 deep",
        ),
        ('{"combo_id": }', "is not JSON at column 14: Expecting value"),
        ("[]", "cannot be read: the document is a list, not an object"),
        (b'{"combo_id": "\xff"}', "has the byte 0xff, which is not UTF-8"),
    ],
    ids=["digits", "deep", "no-json", "list", "no-utf8"],
)
def test_a_line_that_cannot_be_read_is_a_problem_with_its_place(
    line: str | bytes,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In the one shape, and in words that are not Python's about itself."""
    data = line.encode() if isinstance(line, str) else line
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n" + data)))
    assert 1 == run(["derive", "draft", "--stdin", "--json"])
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert ["line", "error", "problems"] == list(document)
    (problem,) = document["problems"]
    assert ("line 2", message) == (problem["where"], problem["message"])
    assert problem["remedy"]
    assert "sys." not in out + err


def test_no_depth_of_nesting_ends_derive(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also one that can just be read, and no more be shown: each line has its answer."""
    depths = range(900, 1000)
    lines = [f'{{"combo_id": {"[" * depth}{"]" * depth}}}' for depth in depths]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(lines).encode())))
    assert 1 == run(["derive", "draft", "--stdin", "--json"])
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert list(range(1, len(depths) + 1)) == [answer["line"] for answer in answers]
    assert all(answer["problems"] for answer in answers)


def test_an_interruption_is_130(tmp_path: Path) -> None:
    """Ctrl-C ends a command with one line and the shells' own status."""
    command = [
        sys.executable,
        "-m",
        "genid_store",
        "derive",
        "draft",
        "--stdin",
        "--json",
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"{}\n")
        process.stdin.flush()
        assert b"error" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert 130 == process.returncode
    assert b"genid: interrupted\n" in err
    assert {"error": "interrupted", "problems": []} == json.loads(out)


# -- terminals -------------------------------------------------------------------------------------
#: Half of something, shown at once; waits for what shows it, and not for a time.
PROGRESS = """
import threading
from genid_store.cli import _output
_output._DELAY = 0.0
with _output.progress_bar("working") as progress:
    [one.join() for one in threading.enumerate() if isinstance(one, threading.Timer)]
    progress(1, 2)
"""


def on_terminal(code: str, **environ: str) -> str:
    """Return what Python code shows on a terminal, output and errors."""
    leader, follower = pty.openpty()
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=follower,
        env=environment | {"TERM": "xterm-256color"} | environ,
    ) as process:
        os.close(follower)
        shown = bytearray()
        try:
            while data := os.read(leader, 4096):
                shown += data
        except OSError:  # Linux says so when the last writer is gone
            pass
        assert 0 == process.wait(60)
    os.close(leader)
    return shown.decode()


def test_progress_shows_on_a_terminal_and_no_color_takes_its_colour() -> None:
    """The bar with its label, how far it is, how fast, and the time that is left; colour codes (30
    to 39) unless NO_COLOR is set."""
    plain, coloured = on_terminal(PROGRESS, NO_COLOR="1"), on_terminal(PROGRESS)
    colour = re.compile(r"\x1b\[(?:\d+;)*3\d")
    assert "working" in plain
    assert "1/2" in plain
    assert "/min" in plain
    assert re.search(r"left [-0-9]+:[-0-9]{2}:[-0-9]{2}", plain)
    assert (None, True) == (colour.search(plain), colour.search(coloured) is not None)


@pytest.mark.parametrize("wish", [{}, {"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}])
def test_progress_is_quiet_where_there_is_no_terminal(
    wish: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not a byte, whatever else asks for colour, and however long it takes."""
    for name, value in wish.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("genid_store.cli._output._DELAY", 0.0)
    with progress_bar("working") as progress:
        progress(1, 2)
    assert ("", "") == capsys.readouterr()
