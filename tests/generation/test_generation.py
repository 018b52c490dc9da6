"""Making generations: what is called, what is written, what is never paid for twice."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from dagster_kit import lay, read, write
from genid_store.fs import rescue
from genid_store.fs.files import move, write_new
from genid_store.fs.layout import DataRoot
from genid_store.fs.leases import lease
from genid_store.generation import failures, once
from genid_store.generation import publish as staging
from genid_store.generation.content import digest
from genid_store.generation.load import load_generator
from genid_store.generation.once import Executor, recover
from genid_store.generation.pool import obtain_all
from genid_store.generation.records import Asked, Generated, Outcome, Request
from genid_store.generation.status import state_of, wanted_ids


class Counting:
    """A generator that counts its calls and answers as it is set up to."""

    def __init__(self, answer: object = None) -> None:
        self.calls: list[Request] = []
        self.answer = answer

    def __call__(self, request: Request) -> object:
        self.calls.append(request)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return f"text of {request.gen_id}" if self.answer is None else self.answer


def make(root: DataRoot, stage: str, gen_id: str, generator: object, **options: object) -> Outcome:
    models = options.pop("provider_models", {})
    asked = Asked(**options)  # type: ignore[arg-type]
    executor = Executor(root=root, generator=generator, asked=asked, provider_models=models)  # type: ignore[arg-type]
    return executor.obtain(stage, gen_id)


def test_of_two_answers_that_killed_runs_left_none_is_lost(tmp_path: Path) -> None:
    """One is published, the other kept: each was paid for."""
    root = lay(tmp_path, "draft", "d1")
    for number, text in enumerate(("one", "two")):
        aside = root.own / "staging" / "draft" / f".d1.{number + 7}-00c0ffee"
        aside.mkdir(parents=True)
        for name in ("parsed.txt", "raw.txt"):
            (aside / name).write_text(text)
    counting = Counting()
    assert make(root, "draft", "d1", counting).kind == "reused"
    assert counting.calls == []
    kept = {path.read_text() for path in root.own.glob("replaced/draft/d1/*raw.txt")}
    assert kept | {read(tmp_path, "draft", "d1", "raw.txt")} == {"one", "two"}


def test_the_request_holds_what_the_generation_is_made_from(tmp_path: Path) -> None:
    """Fields, template text, parent text, metadata and the provider's model reach the host."""
    lay(tmp_path, "draft", "d1")
    write(tmp_path, "draft", "d1", "parsed.txt", "the draft\n")
    root = lay(tmp_path, "essay", "e1", parent_gen_id="d1", replicate=2)
    counting = Counting()
    assert make(root, "essay", "e1", counting, provider_models={"m": "vendor/m"}).kind == "made"
    (request,) = counting.calls
    assert request.fields == {
        "combo_id": "combo_v1_0123456789ab",
        "parent_gen_id": "d1",
        "template_id": "essay-t",
        "llm_model_id": "m",
        "replicate": 2,
    }
    assert (request.stage, request.gen_id) == ("essay", "e1")
    assert request.template_text == "write a essay"
    assert request.parent_text == "the draft\n"
    assert request.metadata["origin_cohort_id"] == "c"
    assert request.provider_model == "vendor/m"
    assert request.data_root == tmp_path


def test_an_essay_without_a_model_has_its_drafts(tmp_path: Path) -> None:
    """Older essays carry no model; the host still learns whose it is."""
    lay(tmp_path, "draft", "d1", llm_model_id="drafter")
    write(tmp_path, "draft", "d1", "parsed.txt", "x")
    root = lay(tmp_path, "essay", "e1", parent_gen_id="d1", llm_model_id=None)
    counting = Counting()
    make(root, "essay", "e1", counting)
    assert counting.calls[0].fields["llm_model_id"] == "drafter"


def test_a_text_alone_is_also_the_parsed_form(tmp_path: Path) -> None:
    """A host that returns text gets raw.txt and parsed.txt, and no prompt.txt."""
    root = lay(tmp_path, "draft", "d1")
    outcome = make(root, "draft", "d1", Counting("Ünïcode\r\n"))
    folder = root.generation("draft", "d1")
    assert sorted(os.listdir(folder)) == [
        "metadata.json",
        "parsed.txt",
        "parsed_metadata.json",
        "raw.txt",
        "raw_metadata.json",
    ]
    assert (folder / "parsed.txt").read_bytes() == "Ünïcode\r\n".encode()
    assert outcome.version == digest("Ünïcode\r\n".encode())


def test_what_it_was_made_with_is_recorded(tmp_path: Path) -> None:
    """raw_metadata.json holds the template's digest, the provider's model and the parameters."""
    root = lay(tmp_path, "draft", "d1")
    answer = Generated(
        text="raw", prompt="p", parsed="q", provider_model="vendor/m-2", parameters={"top_p": 0.5}
    )
    make(root, "draft", "d1", Counting(answer))
    record = json.loads(read(tmp_path, "draft", "d1", "raw_metadata.json"))["genid"]
    assert record["template_digest"] == digest(b"write a draft")
    assert record["provider_model"] == "vendor/m-2"
    assert record["parameters"] == {"top_p": 0.5}
    names = ("prompt.txt", "raw.txt", "parsed.txt")
    assert [read(tmp_path, "draft", "d1", name) for name in names] == ["p", "raw", "q"]


def test_parameters_that_json_cannot_hold_lose_no_text(tmp_path: Path) -> None:
    """Whatever a host passes along, the paid text is written."""
    root = lay(tmp_path, "draft", "d1")
    answer = Generated(text="paid", parameters={"tool": object(), ("a",): 1})  # type: ignore[dict-item]
    assert make(root, "draft", "d1", Counting(answer)).kind == "made"
    assert read(tmp_path, "draft", "d1", "raw.txt") == "paid"


def test_content_that_is_there_is_reused(tmp_path: Path) -> None:
    """The second time, no one is called."""
    root = lay(tmp_path, "draft", "d1")
    counting = Counting()
    kinds = [make(root, "draft", "d1", counting).kind for _ in range(2)]
    assert kinds == ["made", "reused"]
    assert len(counting.calls) == 1


def test_a_copied_essay_calls_nobody(tmp_path: Path) -> None:
    """Mode copy takes the draft's parsed text, byte for byte."""
    lay(tmp_path, "draft", "d1")
    write(tmp_path, "draft", "d1", "parsed.txt", "same\r\nbytes")
    root = lay(tmp_path, "essay", "e1", parent_gen_id="d1", mode="copy")
    counting = Counting()
    assert make(root, "essay", "e1", counting).kind == "copied"
    assert (root.generation("essay", "e1") / "parsed.txt").read_bytes() == b"same\r\nbytes"
    assert counting.calls == []


def test_a_draft_cannot_be_a_copy(tmp_path: Path) -> None:
    """There is nothing to copy it from, so no one is called for a text either."""
    root = lay(tmp_path, "draft", "d1", mode="copy")
    counting = Counting()
    assert make(root, "draft", "d1", counting).kind == "refused"
    assert counting.calls == []


def test_a_child_waits_for_its_parent(tmp_path: Path) -> None:
    """Without the parent's content nothing is paid and nothing counts as failed."""
    lay(tmp_path, "draft", "d1")
    root = lay(tmp_path, "essay", "e1", parent_gen_id="d1")
    counting = Counting()
    outcome = make(root, "essay", "e1", counting)
    assert (outcome.kind, counting.calls) == ("blocked", [])
    assert state_of(root, "essay", "e1") == "missing"
    assert not wanted_ids(root, "essay", ["e1"])
    write(tmp_path, "draft", "d1", "parsed.txt", "x")
    assert wanted_ids(root, "essay", ["e1"])


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(RuntimeError("rate limited"), id="an exception"),
        pytest.param(" \n", id="a blank text"),
        pytest.param(SystemExit(3), id="an exit"),
    ],
)
def test_a_failure_is_on_record_until_it_is_made(tmp_path: Path, answer: object) -> None:
    """A failed generation has no content, a reason on disk, and is not wanted by itself."""
    root = lay(tmp_path, "draft", "d1")
    assert make(root, "draft", "d1", Counting(answer)).kind == "failed"
    make(root, "draft", "d1", Counting(answer), retry_failed=True)
    failure = failures.read(root, "draft", "d1")
    assert failure is not None
    assert failure.attempts == 2
    assert failure.reason
    assert failures.failed_ids(root, "draft") == {"d1"}
    assert state_of(root, "draft", "d1") == "failed"
    assert not wanted_ids(root, "draft", ["d1"])
    nobody = Counting()
    assert (make(root, "draft", "d1", nobody).kind, nobody.calls) == ("failed", [])
    assert make(root, "draft", "d1", Counting(), retry_failed=True).kind == "made"
    assert failures.failed_ids(root, "draft") == frozenset()


def test_a_failure_record_that_is_torn_is_still_a_failure(tmp_path: Path) -> None:
    """What cannot be read is not taken for "never failed"."""
    root = lay(tmp_path, "draft", "d1")
    failures.record(root, "draft", "d1", "x")
    (root.own / "failures" / "draft" / "d1.json").write_text('{"stage": ')
    assert state_of(root, "draft", "d1") == "failed"


def test_an_unparsed_text_is_kept_and_not_paid_for_again(tmp_path: Path) -> None:
    """raw.txt without parsed.txt stays; asked again, the host gets the text back to parse."""
    root = lay(tmp_path, "evaluation", "v1", parent_gen_id="e1")
    lay(tmp_path, "essay", "e1", parent_gen_id="d1")
    write(tmp_path, "essay", "e1", "parsed.txt", "x")
    counting = Counting(Generated(text="no score here", unparsed="no SCORE: line"))
    outcome = make(root, "evaluation", "v1", counting)
    assert outcome.kind == "unparsed"
    assert "no SCORE: line" in outcome.reason
    assert read(tmp_path, "evaluation", "v1", "raw.txt") == "no score here"
    assert state_of(root, "evaluation", "v1") == "unparsed"
    assert make(root, "evaluation", "v1", counting).kind == "unparsed"
    assert len(counting.calls) == 1
    again = Counting(Generated(text="another", parsed="7"))
    assert make(root, "evaluation", "v1", again, retry_unparsed=True).kind == "made"
    assert again.calls[0].unparsed_text == "no score here"
    (kept,) = (root.own / "replaced" / "evaluation" / "v1").glob("*raw.txt")
    assert kept.read_text() == "no score here"


def test_a_text_beside_a_wrong_field_is_kept(tmp_path: Path) -> None:
    """A prompt that is a list of messages, say: the text was paid for, and is not again."""
    root = lay(tmp_path, "draft", "d1")
    counting = Counting(Generated(text="paid", prompt=["a", "b"], parsed=3))  # type: ignore[arg-type]
    outcome = make(root, "draft", "d1", counting)
    assert outcome.kind == "unparsed"
    assert "prompt is not a str but a list, parsed is not a str but a int" in outcome.reason
    assert read(tmp_path, "draft", "d1", "raw.txt") == "paid"
    assert make(root, "draft", "d1", counting).kind == "unparsed"
    assert len(counting.calls) == 1


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EOPNOTSUPP], ids=["two disks", "no links"])
def test_a_file_that_is_replaced_is_kept_where_nothing_can_be_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """`gens/` on a disk of its own, or no hard links: a text that was paid for is published."""
    root = lay(tmp_path, "draft", "d1")
    write(tmp_path, "draft", "d1", "raw.txt", "unparsed")

    def refuse(source: Path, target: Path, **options: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    assert make(root, "draft", "d1", Counting("paid"), retry_unparsed=True).kind == "made"
    assert read(tmp_path, "draft", "d1", "raw.txt") == "paid"
    (kept,) = (root.own / "replaced" / "draft" / "d1").glob("*raw.txt")
    assert kept.read_text() == "unparsed"


def test_a_text_with_half_a_surrogate_is_kept(tmp_path: Path) -> None:
    """What is not Unicode cannot be parsed.txt, and is not lost either."""
    root = lay(tmp_path, "draft", "d1")
    assert make(root, "draft", "d1", Counting("a\ud800b")).kind == "unparsed"
    raw = (root.generation("draft", "d1") / "raw.txt").read_bytes()
    assert raw == "a\ud800b".encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"stage": "draft", "gen_id": "d1"}'])
def test_broken_metadata_pays_nothing(tmp_path: Path, text: str) -> None:
    """A generation whose task is unknown is a failure that says so, before any call."""
    root = lay(tmp_path, "draft", "d1")
    write(tmp_path, "draft", "d1", "metadata.json", text)
    counting = Counting()
    outcome = make(root, "draft", "d1", counting)
    assert (outcome.kind, counting.calls) == ("refused", [])
    assert failures.failed_ids(root, "draft") == frozenset()
    assert "metadata.json" in outcome.reason


def test_a_missing_template_pays_nothing(tmp_path: Path) -> None:
    """The error names the file that is not there."""
    root = lay(tmp_path, "draft", "d1")
    root.template("draft", "draft-t").unlink()
    counting = Counting()
    outcome = make(root, "draft", "d1", counting)
    assert (outcome.kind, counting.calls) == ("refused", [])
    assert failures.failed_ids(root, "draft") == frozenset()
    assert "templates/draft/draft-t.txt" in outcome.reason


def test_a_missing_template_of_any_stage_that_has_templates_pays_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a stage of a user's has none at all, its callable needs none."""
    monkeypatch.setattr(once, "PIPELINE", ())  # as if drafts were a user's
    root = lay(tmp_path, "draft", "d1")
    folder = root.template("draft", "draft-t").parent
    root.template("draft", "draft-t").rename(folder / "Draft-T.txt")
    assert "refused" == make(root, "draft", "d1", Counting()).kind
    shutil.rmtree(folder)
    assert "made" == make(root, "draft", "d1", Counting()).kind


def test_a_callable_that_asks_for_a_template_without_a_file_sends_no_empty_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder may be misspelt. It is on record, for the callable may ask when it has paid, which
    no later run may do by itself; with the file, a retry makes it."""
    monkeypatch.setattr(once, "PIPELINE", ())  # as if drafts were a user's
    root = lay(tmp_path, "draft", "d1")
    sent: list[str] = []

    def call(request: Request) -> str:
        sent.append(request.template_text)
        return "text"

    (tmp_path / "templates/draft").rename(tmp_path / "templates/Drafts")
    outcome = make(root, "draft", "d1", call)
    assert ("failed", []) == (outcome.kind, sent)
    assert "templates/draft/draft-t.txt: is missing; create it" in outcome.reason
    assert failures.failed_ids(root, "draft") == {"d1"}
    (tmp_path / "templates/Drafts").rename(tmp_path / "templates/draft")
    assert ("failed", []) == (make(root, "draft", "d1", call).kind, sent)
    assert "made" == make(root, "draft", "d1", call, retry_failed=True).kind
    assert ["write a draft"] == sent


HOST = """
import json
import sys
from client import connect

def generate(request):
    return topic(request)

def topic(request):
    return request.fields["topic"]

async def late(request):
    return json.loads("{")

def leave(request):
    sys.exit("no")

def ask(request):
    return connect()
"""


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("host.py:generate", "KeyError: 'topic' (host.py:10 in topic)"),
        ("host.py:late", "(host.py:13 in late)"),
        ("host.py:leave", "RuntimeError: the callable raised SystemExit: no (host.py:16 in leave)"),
        ("host.py:ask", "ValueError: too long (host.py:19 in ask)"),
        ("client:answer", "ValueError: too long (site-packages/client.py:2 in connect)"),
        ("builtins:abs", "TypeError: bad operand type for abs(): 'Request'"),
    ],
)
def test_a_failure_says_where_the_hosts_code_raised_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, reason: str
) -> None:
    """Not where a library did that the host's code calls, unless the host is installed itself."""
    root = lay(tmp_path, "draft", "d1")
    (tmp_path / "host.py").write_text(HOST)
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages/client.py").write_text(
        "def connect():\n    raise ValueError('too long')\ndef answer(request):\n    connect()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    monkeypatch.delitem(sys.modules, "client", raising=False)
    outcome = make(root, "draft", "d1", load_generator(host))
    assert outcome.reason.endswith(reason)
    failure = failures.read(root, "draft", "d1")
    assert failure is not None
    assert outcome.reason == failure.reason


def test_an_empty_prompt_has_no_file(tmp_path: Path) -> None:
    """A prompt.txt of no bytes would say that nothing was sent."""
    root = lay(tmp_path, "draft", "d1")
    assert "made" == make(root, "draft", "d1", Counting(Generated(text="x", prompt=""))).kind
    assert "prompt.txt" not in os.listdir(root.generation("draft", "d1"))


def test_a_full_disk_is_found_out_before_paying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no room for the text, no one is called; the reason says where, and what to do."""
    root = lay(tmp_path, "draft", "d1")
    monkeypatch.setattr(staging, "_MIN_FREE", 2**62)
    counting = Counting()
    outcome = make(root, "draft", "d1", counting)
    assert (outcome.kind, counting.calls) == ("refused", [])
    assert outcome.reason.startswith(".genid/staging/draft: fewer than ")
    assert "free space on the disk" in outcome.reason


def test_what_the_system_refuses_is_said_in_words(tmp_path: Path) -> None:
    """A folder that cannot be written to: its path and a remedy, no number of an error."""
    root = lay(tmp_path, "draft", "d1")
    (root.own / "staging").mkdir(parents=True)
    (root.own / "staging" / "draft").write_text("in the way")
    counting = Counting()
    outcome = make(root, "draft", "d1", counting)
    assert (outcome.kind, counting.calls) == ("refused", [])
    assert "a file is in the place of a folder" in outcome.reason
    assert "Errno" not in outcome.reason


def test_a_text_that_cannot_be_staged_is_kept_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full after the call costs no text: the failure says where the text is, the run
    stops, and the next one takes it from there without a call and forgets the failure."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    root = lay(tmp_path, "draft", "d1")
    monkeypatch.setattr(rescue, "USUAL", (str(elsewhere),))
    real = write_new

    def full(path: Path, data: bytes, **options: Any) -> None:
        if not Path(path).is_relative_to(elsewhere):
            raise OSError(28, "No space left on device")
        real(path, data, **options)

    with monkeypatch.context() as patch:
        patch.setattr(staging, "write_new", full)
        executor = Executor(root=root, generator=Counting("paid"))  # type: ignore[arg-type]
        outcome = executor.obtain("draft", "d1")
    assert ("failed", True) == (outcome.kind, executor.stop.is_set())
    assert "it was not begun, because there would be no room for its answer" == executor.stop.why
    assert {"d1"} == failures.failed_ids(root, "draft")
    kept = outcome.reason.partition("the text from ")[2].partition(";")[0]
    assert (Path(kept) / "raw.txt").read_text() == "paid"
    nobody = Counting()
    assert ("reused", []) == (make(root, "draft", "d1", nobody).kind, nobody.calls)
    assert read(tmp_path, "draft", "d1", "parsed.txt") == "paid"
    assert list(elsewhere.iterdir()) == []
    assert frozenset() == failures.failed_ids(root, "draft")


@pytest.mark.parametrize("answer", [b"paid", ("paid", {}), {"text": "paid"}, 7])
def test_an_answer_of_a_wrong_type_is_kept_and_ends_the_run(tmp_path: Path, answer: object) -> None:
    """The answer is paid for: it stays as an unparsed text, and no other call is made."""
    root = lay(tmp_path, "draft", "d1")
    lay(tmp_path, "draft", "d2")
    executor = Executor(root=root, generator=Counting(answer))  # type: ignore[arg-type]
    outcomes: list[Outcome] = []
    obtain_all(executor, "draft", ["d1", "d2"], outcomes.append, concurrency=1)
    assert ["unparsed"] == [one.kind for one in outcomes]
    assert type(answer).__name__ in outcomes[0].reason
    assert ("paid" if answer != 7 else str(answer)) in read(tmp_path, "draft", "d1", "raw.txt")


@pytest.mark.parametrize("moved", range(5))
def test_a_crash_while_publishing_is_rolled_forward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    """After a crash before any rename, the next run publishes the rest and calls no one."""
    root = lay(tmp_path, "draft", "d1")
    moves = iter(range(100))

    def crash(source: Path, target: Path) -> None:
        if next(moves) == moved:
            raise KeyboardInterrupt
        move(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(staging, "move", crash)
        with pytest.raises(KeyboardInterrupt):
            make(root, "draft", "d1", Counting(Generated(text="t", prompt="p")))
    assert state_of(root, "draft", "d1") != "made"
    assert recover(root) == 1
    assert recover(root) == 0
    assert read(tmp_path, "draft", "d1", "parsed.txt") == "t"
    assert list((root.own / "staging" / "draft").iterdir()) == []


def test_a_generation_is_rolled_forward_when_it_is_asked_for(tmp_path: Path) -> None:
    """Also without a general recovery: staged content is content."""
    root = lay(tmp_path, "draft", "d1")
    folder = root.own / "staging" / "draft" / "d1"
    folder.mkdir(parents=True)
    (folder / "parsed.txt").write_text("paid")
    counting = Counting()
    assert make(root, "draft", "d1", counting).kind == "reused"
    assert counting.calls == []


def test_two_runs_at_once_pay_once(tmp_path: Path) -> None:
    """The second waits for the first and reuses what it made."""
    root = lay(tmp_path, "draft", "d1")
    inside, release = threading.Event(), threading.Event()

    def slow(request: Request) -> str:
        inside.set()
        assert release.wait(60)
        return "once"

    outcomes: list[Outcome] = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(make(root, "draft", "d1", slow)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    assert inside.wait(60)
    release.set()
    for thread in threads:
        thread.join(60)
    assert sorted(outcome.kind for outcome in outcomes) == ["made", "reused"]


def test_a_killed_holder_holds_nobody_off(tmp_path: Path) -> None:
    """A lease ends with its process, also by SIGKILL; its file alone is not a lease."""
    root = lay(tmp_path, "draft", "d1")
    script = (
        "import sys, threading, time\n"
        "from genid_store.fs.leases import lease\n"
        "from genid_store.fs.layout import DataRoot\n"
        f"with lease(DataRoot({str(tmp_path)!r}), 'draft', 'd1', threading.Event()):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        stopped = threading.Event()
        stopped.set()
        with lease(root, "draft", "d1", stopped) as held:
            assert held is False
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        with lease(root, "draft", "d1", stopped) as held:
            assert held is True


def test_no_more_than_the_limit_run_at_once(tmp_path: Path) -> None:
    """Concurrency reaches the limit and never passes it; each outcome is reported once."""
    for number in range(12):
        root = lay(tmp_path, "draft", f"d{number}")
    lock, running, most = threading.Lock(), [0], [0]
    barrier = threading.Barrier(3)

    def work(request: Request) -> str:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        barrier.wait(60)
        with lock:
            running[0] -= 1
        return "x"

    outcomes: list[Outcome] = []
    ids = [f"d{number}" for number in range(12)]
    obtain_all(Executor(root=root, generator=work), "draft", ids, outcomes.append, concurrency=3)
    assert most[0] == 3
    assert sorted(ids) == sorted(outcome.gen_id for outcome in outcomes)


def test_one_failure_costs_only_itself(tmp_path: Path) -> None:
    """The others are made."""
    for number in range(4):
        root = lay(tmp_path, "draft", f"d{number}")

    def picky(request: Request) -> str:
        if request.gen_id == "d2":
            raise RuntimeError("no")
        return "x"

    outcomes: list[Outcome] = []
    obtain_all(
        Executor(root=root, generator=picky), "draft", [f"d{n}" for n in range(4)], outcomes.append
    )
    assert {o.gen_id: o.kind for o in outcomes} == {
        "d0": "made",
        "d1": "made",
        "d2": "failed",
        "d3": "made",
    }


def test_an_interrupt_lets_the_calls_in_flight_finish(tmp_path: Path) -> None:
    """What is being paid for is recorded, nothing else begins, and the interrupt is raised."""
    for number in range(8):
        root = lay(tmp_path, "draft", f"d{number}")
    first, second = threading.Event(), threading.Event()

    def work(request: Request) -> str:
        if request.gen_id == "d0":
            assert second.wait(60)  # both calls are in flight before one of them ends
        else:
            second.set()
            assert first.wait(60)
        return "x"

    outcomes: list[Outcome] = []

    def report(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if len(outcomes) == 1:
            first.set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        obtain_all(
            Executor(root=root, generator=work),
            "draft",
            [f"d{n}" for n in range(8)],
            report,
            concurrency=2,
        )
    made = {outcome.gen_id for outcome in outcomes if outcome.kind == "made"}
    assert made == {f"d{n}" for n in range(8) if state_of(root, "draft", f"d{n}") == "made"}
    assert made == {"d0", "d1"}
