"""The example host: its prompts, its parser, its offline texts, and a real HTTP endpoint."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dagster_kit import lay, read, write
from genid_store.fs.layout import DataRoot
from genid_store.generation.load import load_generator
from genid_store.generation.once import Executor
from genid_store.generation.records import Asked, Generated, Request

pytestmark = pytest.mark.network_free


class Endpoint:
    """A server on loopback that speaks the chat protocol: `answers` are taken one a call, the last
    one for ever; an int is an error status, a text an answer, None an answer without text."""

    def __init__(self) -> None:
        self.answers: list[int | str | None] = ["an answer\nSCORE: 7.5"]
        self.retry_after = "soon"
        self.bodies: list[Any] = []
        self.keys: list[str | None] = []
        endpoint, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with lock:
                    endpoint.bodies.append(body)
                    endpoint.keys.append(self.headers["authorization"])
                    found = endpoint.answers
                    answer = found.pop(0) if len(found) > 1 else found[0]
                if isinstance(answer, int):
                    self._send(answer, {"error": {"message": f"status {answer}"}})
                else:
                    self._send(200, _completion(body["model"], answer))

            def _send(self, status: int, document: object) -> None:
                data = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                if status >= 400:
                    self.send_header("retry-after", endpoint.retry_after)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"


def _completion(model: str, text: str | None) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop" if text else "length"}
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": f"{model}-0601",
        "choices": [choice],
    }


@pytest.fixture
def host(project: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example's module, loaded anew: its client is made once a module."""
    import sys

    monkeypatch.setenv("OPENAI_MAX_RETRIES", "3")
    offline = load_generator(f"{project / 'examples/daydreaming/host.py'}:offline")
    module = sys.modules[offline.__module__]
    monkeypatch.setattr(module, "_FIRST_WAIT", 0)
    return module


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    found = Endpoint()
    monkeypatch.setenv("OPENAI_BASE_URL", found.url)
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-secret")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    thread = threading.Thread(target=found.server.serve_forever, args=(0.01,))
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    lay(tmp_path, "essay", "e1", parent_gen_id="d1")
    write(tmp_path, "essay", "e1", "parsed.txt", "the essay")
    root = lay(tmp_path, "evaluation", "v1", parent_gen_id="e1")
    root.template("evaluation", "evaluation-t").write_text("Judge: {{ parent_text }}")
    return root


def judge(root: DataRoot, generator: Any, **options: Any) -> Any:
    models = {"m": "vendor/judge"}
    maker = Executor(root=root, generator=generator, provider_models=models, **options)
    return maker.obtain("evaluation", "v1")


def test_an_endpoint_is_asked_with_the_rendered_prompt(
    host: ModuleType, endpoint: Endpoint, root: DataRoot
) -> None:
    """The provider's model, the key and the parameters go out; what came back is recorded."""
    assert judge(root, host.openai_compatible).kind == "made"
    (body,) = endpoint.bodies
    assert body["model"] == "vendor/judge"
    assert body["messages"] == [{"role": "user", "content": "Judge: the essay"}]
    assert endpoint.keys == ["Bearer not-a-secret"]
    texts = {name: read(root.path, "evaluation", "v1", f"{name}.txt") for name in ("prompt", "raw")}
    assert texts == {"prompt": "Judge: the essay", "raw": "an answer\nSCORE: 7.5"}
    assert read(root.path, "evaluation", "v1", "parsed.txt") == "7.5"
    record = json.loads(read(root.path, "evaluation", "v1", "raw_metadata.json"))["genid"]
    assert record["provider_model"] == "vendor/judge-0601"
    assert record["parameters"] == {"temperature": 0.0}


def test_refusals_are_tried_again(host: ModuleType, endpoint: Endpoint, root: DataRoot) -> None:
    """By the host, as it is configured; the adapter sees one answer."""
    endpoint.answers = [429, 429, 429, "SCORE: 3"]
    assert judge(root, host.openai_compatible).kind == "made"
    assert len(endpoint.bodies) == 4


def test_the_endpoint_says_how_long_to_wait(
    host: ModuleType, endpoint: Endpoint, root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit by the minute is longer than what doubles from a second."""
    slept: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", slept.append)
    endpoint.answers, endpoint.retry_after = [429, "SCORE: 3"], "20"
    assert judge(root, host.openai_compatible).kind == "made"
    assert slept == [20]


@pytest.mark.parametrize("answers", [[500, 429, "SCORE: 3"], [429, 500, "SCORE: 3"]])
def test_what_may_have_been_paid_for_is_not_asked_again(
    host: ModuleType, endpoint: Endpoint, root: DataRoot, answers: list[int | str | None]
) -> None:
    """After an error that proves nothing, neither the client nor the next run pays again."""
    endpoint.answers = list(answers)
    assert judge(root, host.openai_compatible).kind == "failed"
    asked = len(endpoint.bodies)
    assert asked == answers.index(500) + 1
    assert judge(root, host.openai_compatible).kind != "made"
    assert len(endpoint.bodies) == asked


@pytest.mark.parametrize(
    ("answers", "calls", "told"),
    [([429], 4, "429"), ([401], 1, "401"), ([None], 1, "finish reason length")],
)
def test_an_endpoint_that_gives_up_is_a_failure_with_its_reason(
    host: ModuleType,
    endpoint: Endpoint,
    root: DataRoot,
    answers: list[int | str | None],
    calls: int,
    told: str,
) -> None:
    """Nothing is written as content."""
    endpoint.answers = answers
    outcome = judge(root, host.openai_compatible)
    kind = "failed" if "length" in told else "refused"  # a 429 or a 401 is not billed
    assert (outcome.kind, len(endpoint.bodies)) == (kind, calls)
    assert told in outcome.reason
    assert not (root.generation("evaluation", "v1") / "raw.txt").exists()


def test_an_answer_without_a_score_is_parsed_again_without_another_call(
    host: ModuleType, endpoint: Endpoint, root: DataRoot
) -> None:
    """The text was paid for: once it can be parsed, nobody is asked."""
    endpoint.answers = ["Very good!"]
    assert judge(root, host.openai_compatible).kind == "unparsed"
    assert read(root.path, "evaluation", "v1", "raw.txt") == "Very good!"
    write(root.path, "evaluation", "v1", "raw.txt", "Very good!\nSCORE: 9")
    assert judge(root, host.openai_compatible, asked=Asked(retry_unparsed=True)).kind == "made"
    assert read(root.path, "evaluation", "v1", "parsed.txt") == "9"
    assert len(endpoint.bodies) == 1


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("SCORE: 7", "7"),
        ("first\n**Score:** 6.5\n", "6.5"),
        ("SCORE: 2\nno, rather\nscore: 8", "8"),
        ("SCORE: 11", None),
        ("my score is 5", None),
        ("", None),
    ],
)
def test_the_parser_takes_the_last_score(host: ModuleType, text: str, score: str | None) -> None:
    """A line of its own, from 0 to 10."""
    assert score == host.parse_score(text)


def test_offline_texts_are_the_same_every_time(host: ModuleType, project: Path) -> None:
    """For the same generation; another one gets another text."""
    data = project / "examples/daydreaming/data"

    def made(gen_id: str) -> Generated:
        request = Request(
            stage="essay",
            gen_id=gen_id,
            fields={"template_id": "narrative-v1", "replicate": 1},
            template_text=(data / "templates/essay/narrative-v1.txt").read_text(),
            parent_text="notes",
            metadata={},
            provider_model=None,
            unparsed_text=None,
            custom_id=gen_id,
            data_root=data,
        )
        answer: Generated = host.offline(request)
        return answer

    assert made("e_1") == made("e_1")
    assert made("e_1").text != made("e_2").text
    assert "notes" in str(made("e_1").prompt)


@pytest.mark.long
def test_what_the_docs_say_was_measured_can_be_measured(project: Path, tmp_path: Path) -> None:
    """Every figure of docs/dagster.md is printed by the command beside them."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DD_", "GENID"))}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "examples/daydreaming/timing.py", "--keys", "40"],
        cwd=project,
        env={**kept, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (0, 4) == (done.returncode, len(done.stdout.splitlines())), done.stdout + done.stderr
    assert "3 runs by the daemon" in done.stdout
    assert "python examples/daydreaming/timing.py" in (project / "docs/dagster.md").read_text()
