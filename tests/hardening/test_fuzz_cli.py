"""The command line with anything at all: words and an exit status, in any locale."""

import io
import json
import os
import string
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import storekit
from genid_store.cli import run
from genid_store.fs.layout import DataRoot
from hardening_kit import (
    DEEP,
    command,
    fuzzed,
    json_damaged,
    json_values,
    nasty_texts,
)

FIELDS = {"combo_id": "c", "template_id": "t", "llm_model_id": "m", "replicate": 1}
#: What a shell can pass: no NUL, bytes that are no UTF-8 as half surrogate pairs.
arguments = st.one_of(
    nasty_texts, st.text(alphabet=string.printable + "\udcff\u00e9", max_size=30)
).map(lambda text: text.replace("\0", ""))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """A small store with every oddity."""
    folder = tmp_path_factory.mktemp("store") / "root"
    storekit.make_store(folder, generations=60, faults=storekit.FAULTS, files=(), selection=None)
    return DataRoot.open(folder)


def outcome(words: Sequence[str], data: bytes = b"") -> tuple[int, str, str]:
    """Return exit status, output and errors of one command, its streams as a terminal has them."""
    streams = sys.stdin, sys.stdout, sys.stderr
    out, err = io.BytesIO(), io.BytesIO()
    sys.stdin = io.TextIOWrapper(io.BytesIO(data))
    sys.stdout = io.TextIOWrapper(out, "utf-8", errors="backslashreplace", write_through=True)
    sys.stderr = io.TextIOWrapper(err, "utf-8", errors="backslashreplace", write_through=True)
    try:
        status = run(words)
        return status, out.getvalue().decode(), err.getvalue().decode()
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams


@fuzzed()
@given(words=st.lists(arguments, min_size=1, max_size=3))
def test_any_ids_are_told_or_refused(root: DataRoot, words: list[str]) -> None:
    """`explain` of any texts, with and without a store, in words and in JSON."""
    for store in ([], ["--data-root", str(root.path)]):
        status, out, err = outcome(["explain", "--json", *store, "--", *words])
        assert status in (0, 1, 2), (out, err)
        assert "Traceback" not in err
        if status != 2:
            json.loads(out)


@fuzzed()
@given(text=arguments)
@example(text="\udcff")
@example(text="%")
@example(text="d_0%__")
def test_any_prefixes_are_resolved_or_refused(root: DataRoot, text: str) -> None:
    """`explain` gives matches or reasons for any text; wildcards of SQL mean nothing."""
    here = ["--data-root", str(root.path)]
    status, out, err = outcome(["explain", *here, "--json", "--", text])
    assert status in (0, 1), (out, err)
    document = json.loads(out)
    for match in document.get("generations", ()):
        found = match["generation"]
        ids = [found["gen_id"], *found["expected"].values(), *found["previous_gen_ids"]]
        assert any((one or "").startswith(document["asked"]) for one in ids)


@fuzzed()
@given(
    lines=st.lists(
        json_damaged(FIELDS)
        | json_values.map(lambda value: json.dumps(value).encode())
        | st.binary(max_size=20)
        | st.sampled_from([bytes(DEEP), json.dumps(FIELDS).encode(), b'{"replicate": 1e999}']),
        max_size=5,
    ),
    stage=st.sampled_from(["draft", "essay", "evaluation"]),
)
def test_any_lines_are_derived_or_refused_one_by_one(lines: list[bytes], stage: str) -> None:
    """`derive --stdin` answers each line that is not blank with a JSON object, in order."""
    data = b"\n".join(line.replace(b"\n", b" ") for line in lines)
    status, out, err = outcome(["derive", stage, "--stdin", "--json"], data)
    answers = [json.loads(line) for line in out.splitlines()]
    wanted = sum(bool(line.replace(b"\n", b" ").strip()) for line in lines)
    assert wanted == len(answers), err
    assert any("error" in answer for answer in answers) == (status == 1)


@fuzzed()
@given(values=st.lists(arguments, min_size=4, max_size=4))
def test_any_options_derive_an_id_or_are_refused(values: list[str]) -> None:
    """`derive` with any option values ends with an id, a refusal or a usage error."""
    options = [
        f"--{name.replace('_', '-')}={text}" for name, text in zip(FIELDS, values, strict=True)
    ]
    status, out, err = outcome(["derive", "draft", *options])
    assert status in (0, 1, 2)
    assert (status == 0) == out.startswith("d_")
    assert (status == 0) == (err == "")


POOR = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "NO_COLOR": "1"}


@pytest.mark.parametrize(
    "words",
    [["store", "audit", "--json"], ["store", "audit"], ["explain"], ["explain", "--json"]],
    ids=" ".join,
)
def test_a_terminal_without_unicode_is_no_error(root: DataRoot, words: list[str]) -> None:
    """Names and texts that the locale's encoding lacks are escaped; JSON stays JSON."""
    odd = next(
        path.parent.name
        for path in sorted(root.gens.rglob("metadata.json"))
        if "größe".encode() in path.read_bytes()
    )
    ids = [odd] if words[0] == "explain" else []
    done = command(*words, *ids, "--data-root", root.path, environ=POOR)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in (0, 1)
    if "--json" in words:
        assert "größe" in json.dumps(json.loads(done.stdout), ensure_ascii=False)


def test_a_name_that_is_no_utf8_is_told(tmp_path: Path) -> None:
    """A folder whose name is no UTF-8 is a stray entry in words and in JSON."""
    folder = os.fsencode(tmp_path) + b"/gens/draft/\xff\xfe"
    os.makedirs(folder)
    for words in (["store", "audit"], ["store", "audit", "--json"]):
        status, out, err = outcome([*words, "--data-root", str(tmp_path)])
        assert (1, "") == (status, err)
        assert "stray-entry" in out
