r"""What reaches a terminal or a reader of standard output: nothing that drives it, nothing foreign.

Texts from outside are ids, metadata, error messages, a generator's prints.
"""

import json
import math
import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genid_store.cli import run
from genid_store.cli._output import print_json, print_table
from genid_store.cli._screen import OutputError, Screen, json_safe, written_out
from genid_store.cli._values import told
from genid_store.errors import Problem, StoreError
from genid_store.generation.load import load_generator
from genid_store.ids.rollout import Rollout
from hardening_kit import HANGS, arguments_of, command, environment, fuzzed, refused

#: A colour, a title by OSC 52 and BEL, an 8-bit CSI, overrides and isolates of direction.
DRIVING = "\x1b[31m", "\x1b]52;c;eA==\x07", "\x9b2J", "\u202e", "\u2066", "\u200f", "\x7f"
HOSTILE = "a" + "".join(DRIVING) + "b"


def on_a_terminal(arguments: Sequence[object], columns: int = 80) -> str:
    """Return what a command writes to a terminal of so many columns, both streams."""
    ours, theirs = pty.openpty()
    environ = environment({"COLUMNS": str(columns), "TERM": "xterm"})
    child = subprocess.Popen(
        arguments_of(*arguments), stdin=theirs, stdout=theirs, stderr=theirs, env=environ
    )
    os.close(theirs)
    pieces = []
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # EIO: the last one to have it open has ended
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(ours)
    child.wait(HANGS)
    return b"".join(pieces).decode().replace("\r\n", "\n")


def store(folder: Path, gen_id: str = "d1", **fields: object) -> Path:
    """Write one draft with further metadata fields."""
    place = folder / "gens" / "draft" / gen_id
    place.mkdir(parents=True)
    known = {"stage": "draft", "gen_id": gen_id, "combo_id": "c", "template_id": "t"}
    document = {**known, "llm_model_id": "m", "replicate": 1, **fields}
    (place / "metadata.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


@given(text=st.text())
@fuzzed()
def test_no_text_drives_a_terminal(text: str) -> None:
    """Whatever is written out has no control character but line feed and tab, and no direction."""
    shown = written_out(text)
    assert not [one for one in shown if one in DRIVING or (one < " " and one not in "\n\t")]
    assert json.loads(json_safe(json.dumps(text, ensure_ascii=False))) == text


@pytest.mark.parametrize(
    "words", [["explain", "d1"], ["explain", "d1", "--json"], ["store", "audit"]]
)
def test_metadata_is_written_out(tmp_path: Path, words: list[str]) -> None:
    """Fields with escapes reach a terminal as text, and the name of a stray folder does."""
    fields = ("template_id", "mode", "origin_cohort_id", "previous_gen_id")
    root = store(tmp_path, **dict.fromkeys(fields, HOSTILE))
    (tmp_path / "gens" / "draft" / HOSTILE.replace("/", "")).mkdir(parents=True)
    shown = on_a_terminal([*words, "--data-root", root])
    assert not [one for one in DRIVING[2:] if one in shown], shown
    assert "\x1b[31m" not in shown
    assert "\x1b]52" not in shown


def test_a_document_is_json_whatever_a_host_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """NaN and the infinities, which Python writes into metadata, are texts in what we print."""
    store(tmp_path, replicate=float("nan"), score=float("-inf"))
    place = ["--data-root", str(tmp_path), "--json"]
    for words, status in ((["store", "audit"], 1), (["explain", "d1"], 0)):
        assert status == run([*words, *place])
        shown = capsys.readouterr().out
        json.loads(shown, parse_constant=pytest.fail)
        assert status == 0 or '"nan"' in shown


@pytest.mark.parametrize("words", [["explain", HOSTILE], ["derive", HOSTILE], [HOSTILE]])
def test_what_is_given_is_written_out(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Also in an error, click's own usage errors among them."""
    assert run(words) in (1, 2)
    shown = capsys.readouterr().err
    assert "x1b" in shown, shown
    assert not [one for one in DRIVING if one in shown], shown


@pytest.mark.parametrize(
    "environ",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
    ids=["ascii", "locale C", "latin-1"],
)
def test_no_encoding_lets_a_text_pass_unescaped(tmp_path: Path, environ: dict[str, str]) -> None:
    """Also on streams that are of ASCII alone, both of them; a full one is told as such there."""
    (tmp_path / "here").mkdir()
    root = os.fsdecode(os.fsencode(tmp_path) + b"/here/i\x1b[31m\xff")
    for words in (["init", root], ["init", root], ["report", "--data-root", root]):
        done = subprocess.run(
            arguments_of(*words), cwd=tmp_path, env=environment(environ), capture_output=True,
            check=False, timeout=HANGS,
        )  # fmt: skip
        shown = done.stdout + done.stderr
        assert (b"\x1b" in shown, rb"i\x1b[31m" in shown) == (False, True), shown
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            arguments_of("init", tmp_path / "new"), stdout=full, stderr=subprocess.PIPE,
            env=environment(environ), check=False, timeout=HANGS,
        )  # fmt: skip
    assert done.stderr.startswith(b"genid: standard output cannot be written: ")


def test_eighty_columns_break_no_id(tmp_path: Path) -> None:
    """Neither in a table nor in a list, on a terminal narrower than the id."""
    long = "d" + "0123456789" * 20
    root = store(tmp_path, long)
    for words in (["explain", long], ["explain", long, "--json"]):
        assert long in on_a_terminal([*words, "--data-root", root], columns=40)


def test_a_table_is_never_folded(capsys: pytest.CaptureFixture[str]) -> None:
    """Each row is one line, whatever its cells hold."""
    print_table([{"id": "x" * 300, "why": "two\nlines"}, {"id": HOSTILE, "why": None}])
    lines = capsys.readouterr().out.splitlines()
    assert 4 == len(lines)
    assert "x" * 300 in lines[2]
    assert r"two\nlines" in lines[2]
    assert r"a\x1b[31m" in lines[3]


def test_people_are_shown_ten_problems_and_the_count(tmp_path: Path) -> None:
    """A machine gets all."""
    rows = "".join(f",{number}\n" for number in range(25))
    (tmp_path / "1_raw").mkdir()
    (tmp_path / "1_raw" / "draft_templates.csv").write_text(f"template_id,generator\n{rows}")
    words = ["cohort", "build", "--cohort-id", "c", "--data-root", tmp_path]
    done = command(*words)
    lines = refused(done).splitlines()
    assert (12, "more (--json lists all)") == (len(lines), lines[-1].split(maxsplit=2)[2])
    everything = json.loads(command(*words, "--json").stdout)["problems"]
    assert len(everything) == 10 + int(lines[-1].split()[1])


# -- standard output that is closed, full, or read by nobody ---------------------------------------
@pytest.mark.parametrize("words", [["explain", "d_1"], ["explain", "d_1", "--json"]], ids=len)
@pytest.mark.parametrize("output", ["full", "closed", "unread"])
def test_output_that_cannot_be_written(words: list[str], output: str) -> None:
    """One line on standard error and status 1; nothing where the reader has read enough."""
    arguments = arguments_of(*words)
    closing = (lambda: os.close(1)) if output == "closed" else None
    reading, writing = os.pipe()
    os.close(reading)
    with open("/dev/full", "w") as full:
        target = {"full": full.fileno(), "closed": None, "unread": writing}[output]
        done = subprocess.run(
            arguments, stdout=target, stderr=subprocess.PIPE, env=environment(), text=True,
            check=False, timeout=HANGS, preexec_fn=closing,
        )  # fmt: skip
    os.close(writing)
    assert (1, 0 if output == "unread" else 1) == (done.returncode, done.stderr.count("\n"))
    assert "" == done.stderr or done.stderr.startswith("genid: standard output ")


def test_all_streams_closed(tmp_path: Path) -> None:
    """No file of the store gets the number of a stream, and nothing is written into it."""
    root = store(tmp_path)

    def closing() -> None:
        os.closerange(0, 3)

    arguments = arguments_of("store", "audit", "--data-root", root)
    done = subprocess.run(
        arguments, env=environment(), check=False, timeout=HANGS, preexec_fn=closing
    )
    assert 1 == done.returncode
    assert not (root / ".genid").exists()


def test_a_stream_that_fails_is_said_as_such() -> None:
    """Not as a fault of the store's disk; on the last resort nothing is said."""
    full = open("/dev/full", "w")  # noqa: SIM115 - what it holds cannot be written, nor closed
    with pytest.raises(OutputError, match="No space left"):
        print("x", file=Screen(full), flush=True)
    print("x", file=Screen(full, last_resort=True), flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
    full.close()


# -- `--json`: the document alone ------------------------------------------------------------------
GENERATOR = """
import atexit, os, subprocess, sys
print("on import")
atexit.register(print, "at exit")
def call(request):
    print("\\x1b[31mfrom a thread")
    sys.stdout.write("written")
    os.write(1, b"to the descriptor\\n")
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    return "SCORE: 7"
"""


def test_a_generator_that_prints_leaves_standard_output_alone(tmp_path: Path) -> None:
    """By print, by the descriptor, from a child, at exit: all of it is on standard error."""
    root = tmp_path / "root"
    assert 0 == command("init", root).returncode
    (root / "noisy.py").write_text(GENERATOR)
    words = ["--data-root", root, "--cohort-id", "c"]
    assert 0 == command("cohort", "build", *words).returncode
    done = command("cohort", "run", *words, "--generate", f"{root}/noisy.py:call", "--json")
    assert json.loads(done.stdout)["calls"] > 0, done.stderr
    texts = "on import", r"\x1b[31mfrom a thread", "to the descriptor", "from a child", "at exit"
    for text in texts:
        assert text in done.stderr


@pytest.mark.parametrize("option", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize(
    "ending",
    [
        "sys.stdout.close()",
        "sys.stderr.close()",
        "sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding='utf-8')",
    ],
)
def test_a_generator_that_ends_a_stream(tmp_path: Path, ending: str, option: list[str]) -> None:
    """The streams are the command's own: its result is written all the same."""
    root = tmp_path / "root"
    assert 0 == command("init", root).returncode
    (root / "ending.py").write_text(
        f"import io, sys\n{ending}\ndef call(request):\n    return 'SCORE: 7'\n"
    )
    words = ["--data-root", root, "--cohort-id", "c", *option]
    done = command("cohort", "run", *words, "--generate", f"{root}/ending.py:call")
    assert 0 == done.returncode, done.stderr
    calls = json.loads(done.stdout)["calls"] if option else int(done.stdout.split()[5])
    assert 6 == calls


def test_standard_output_is_whole_again_afterwards(capfd: pytest.CaptureFixture[str]) -> None:
    """A process that runs several commands has its streams back after each."""
    out, err = sys.stdout, sys.stderr
    assert 0 == run(["explain", "d_2pkyzevzpngrcb4vm9d9j2b1mk", "--json"])
    assert (out, err) == (sys.stdout, sys.stderr)
    print_json({"a": StoreError("x", [Problem(where="w", message="m", remedy="r")]).summary})
    assert '"a": "x"' in capfd.readouterr().out


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("def f(:\n", "host.py:1"),
        ("x = 1\n  y = 2\n", "host.py:2"),
        ("# coding: nonsense\n", "host.py"),
        ("x = '\0'\n", "host.py"),
        ("import beside_the_host\n", "beside_the_host.py:1"),
        ("import sys\nsys.exit(0)\n", "host.py:2: raises SystemExit"),
        ("class E(Exception):\n    def __str__(self):\n        1 / 0\nraise E\n", "host.py:4: "),
        (
            "from genid import Signature\nclass N(Signature[str], stage='n', prefix='e'):\n a: str",
            "host.py:2:N.prefix: is the prefix of essay already (got 'e')",
        ),
    ],
)
def test_a_host_file_that_is_not_python_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, place: str
) -> None:
    """With file and line; also where a file that it imports is not, where it exits, and where it
    declares a stage that gives no sound ids."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "host.py").write_text(source)
    (tmp_path / "beside_the_host.py").write_text("def g(:\n")
    with pytest.raises(StoreError, match="generator cannot be used") as caught:
        load_generator(f"{tmp_path}/host.py:f")
    assert place in str(caught.value)


def test_the_hosts_folder_shadows_nothing(tmp_path: Path) -> None:
    """Modules beside the host's file that have the names of installed ones, the command run from
    that folder."""
    root = tmp_path / "root"
    assert 0 == command("init", root).returncode
    for name in ("calendar", "csv", "sqlite3", "rich", "filelock", "blake3", "errno", "attr"):
        (root / f"{name}.py").write_text("raise SystemExit('shadowed')\n")
    (root / "host.py").write_text("import mine\nf = mine.f\n")
    (root / "mine.py").write_text("def f(request):\n    return 'SCORE: 7'\n")
    script = Path(sys.executable).with_name("genid")
    for words in (["build"], ["run", "--generate", "host.py:f"]):
        done = subprocess.run(
            [script, "cohort", *words, "--data-root", ".", "--cohort-id", "c"],
            cwd=root, env=environment(), capture_output=True, text=True, check=False, timeout=HANGS,
        )  # fmt: skip
        assert "shadowed" not in done.stdout + done.stderr
        assert 0 == done.returncode, done.stderr


def test_any_record_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Records by their fields, problems in their one shape, sets in order, and as a text whatever
    JSON has no word for, keys and bytes too."""
    found = Problem(where="w", message="m", remedy="r", ways=("pay_again",), value=float("nan"))
    coded = Problem(where="w", message="m", remedy="r", code="orphan", ids=(("draft", "d1"),))
    odd = {("draft", "d_1"): b"a\xff", 3: ["x"]}
    print_json([StoreError("x", [found]), coded, {"b", "a"}, Path("p"), math.inf, Rollout.OFF, odd])
    shape = {"where": "w", "message": "m", "remedy": "r"}
    ways = {"remedy": "r (--pay-again)", "value": "nan"}
    assert [
        {"error": "x", "problems": [shape | ways]},
        {**shape, "code": "orphan", "ids": [["draft", "d1"]], "details": {}},
        ["a", "b"],
        "p",
        "inf",
        {"stages": [], "scheme": "v1"},
        {"draft d_1": "a\\xff", "3": ["x"]},
    ] == json.loads(capsys.readouterr().out)


def test_ways_are_told_as_options_of_the_command() -> None:
    """As the library calls them to those who call it; a value is never changed."""
    found = Problem(where="w", message="m", remedy="r", ways=("write_combos", "forget=/a_b=c"))
    assert "w: m; r (write_combos=True, forget=/a_b=c)" == str(found)
    assert "w: m; r (--write-combos, --forget /a_b=c)" == told(found)
