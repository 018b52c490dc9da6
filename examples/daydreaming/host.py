"""A small host: Jinja prompt templates, a `SCORE:` parser, and three ways to make a text.

`offline` invents a text from the prompt, the same for the same generation, without any network.
`openai_compatible` asks an endpoint that speaks the OpenAI protocol; OPENAI_BASE_URL and
OPENAI_API_KEY say which, as for any program that uses the `openai` client, and OPENAI_MAX_RETRIES
(default 4) how often it asks again where the endpoint refuses for now (429). `batch` asks the same
endpoint through its batches.

No call that is paid for is repeated by the client itself, which would do so after a timeout or a
broken connection, too: the first attempt may have been paid for. genid records such a failure, and
it is tried again when the operator says so.

The adapter calls one of them with a request and does the rest: paths, parents, skipping, writing.
"""

import csv
import functools
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jinja2

from genid_store import Collected, Generated, Request

_JINJA = jinja2.Environment(
    undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True
)
_SCORE = re.compile(r"^\W*SCORE\W*:\W*([0-9]+(?:\.[0-9]+)?)\W*$", re.IGNORECASE | re.MULTILINE)
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0  # seconds; where the endpoint does not say how long
_TEMPERATURE = {"draft": 0.9, "essay": 0.7, "evaluation": 0.0}
_WORDS = (
    "a slow friction",
    "the path that was given up",
    "a name that outlives its thing",
    "the face that never turns away",
    "one more orbit",
    "the kitchen at dawn",
    "a maze without a walker",
)


def offline(request: Request) -> Generated:
    """Invent a text from the prompt: no network, no cost, the same every time."""
    prompt = render(request)
    return _finished(request, prompt, _invented(request, prompt), "offline", {})


def openai_compatible(request: Request) -> Generated:
    """Ask an OpenAI-compatible endpoint. Raises what the client raises."""
    prompt = render(request)
    if request.unparsed_text is not None:  # paid for before: perhaps the parser has learned
        return _finished(request, prompt, request.unparsed_text, request.provider_model, {})
    answer = _asked(_body(request, prompt))
    choice = answer.choices[0]
    if not choice.message.content:
        raise RuntimeError(f"the endpoint returned no text (finish reason {choice.finish_reason})")
    return _finished(request, prompt, choice.message.content, answer.model, _parameters(request))


class OpenAIBatches:
    """The batches of an OpenAI-compatible endpoint.

    OPENAI_BATCH_REQUESTS and OPENAI_BATCH_BYTES are the endpoint's limits on one batch (defaults:
    50,000 rows, 100 MB).
    """

    max_requests = int(os.environ.get("OPENAI_BATCH_REQUESTS", "50000"))
    max_bytes = int(os.environ.get("OPENAI_BATCH_BYTES", "100000000"))

    def size(self, request: Request) -> int:
        """Return how many bytes a request takes in the file of a batch."""
        return len(_row(request))

    def find(self, key: str) -> str | None:
        """Return the batch that was submitted under a key."""
        found = (one.id for one in _client().batches.list(limit=100) if _key(one) == key)
        return next(found, None)

    def submit(self, key: str, requests: Iterable[Request]) -> str:
        """Submit a batch under a key. Creating it is never tried again here: an error may hide that
        it was created, which `find` tells the next time."""
        with tempfile.TemporaryFile() as file:
            file.writelines(map(_row, requests))
            file.seek(0)
            rows = _client().files.create(file=(f"{key}.jsonl", file), purpose="batch")
        made = (
            _client()
            .with_options(max_retries=0)
            .batches.create(
                input_file_id=rows.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={"genid": key},
                extra_headers={"Idempotency-Key": key},
            )
        )
        return str(made.id)

    def collect(self, batch: str) -> Collected:
        """Return the answers that an endpoint has: most have none before the batch has ended."""
        found = _client().batches.retrieve(batch)
        counts = found.request_counts
        files = (found.output_file_id, found.error_file_id)
        return Collected(
            answers=(_answer(row) for name in files if name for row in _lines(name)),
            ended=found.status in {"completed", "failed", "expired", "cancelled"},
            done=None if counts is None else counts.completed + counts.failed,
            reason=f"no answer came for it; the batch is {found.status}",
        )

    def finish(self, request: Request, answer: Generated) -> Generated:
        """Return an answer with its prompt and its parsed form."""
        return _finished(
            request, render(request), answer.text, answer.provider_model, _parameters(request)
        )

    def cancel(self, batch: str) -> None:
        """Ask the endpoint to end a batch; rows that are done are kept and billed."""
        _client().batches.cancel(batch)


batch = OpenAIBatches()


def _key(batch: Any) -> str | None:
    return (batch.metadata or {}).get("genid")


def _row(request: Request) -> bytes:
    """Return the line of a request in the file of a batch."""
    body = _body(request, render(request))
    row = {"custom_id": request.custom_id, "method": "POST", "url": "/v1/chat/completions"}
    return json.dumps({**row, "body": body}).encode() + b"\n"


def _lines(name: str) -> Iterator[dict[str, Any]]:
    with _client().files.with_streaming_response.content(name) as response:
        yield from map(json.loads, response.iter_lines())


def _answer(row: dict[str, Any]) -> tuple[str, Generated | Exception]:
    """Return the custom_id of a row and its answer, or why there is none."""
    response = row.get("response") or {}
    body = response.get("body") or {}
    choices = body.get("choices") or [{}]
    text = (choices[0].get("message") or {}).get("content")
    if text:
        return row["custom_id"], Generated(text=text, provider_model=body.get("model"))
    reason = row.get("error") or body.get("error") or choices[0].get("finish_reason")
    return row["custom_id"], RuntimeError(
        f"no text (status {response.get('status_code')}: {reason})"
    )


def _body(request: Request, prompt: str) -> dict[str, Any]:
    model = request.provider_model or str(request.fields["llm_model_id"])
    messages = [{"role": "user", "content": prompt}]
    return {"model": model, "messages": messages, **_parameters(request)}


def _parameters(request: Request) -> dict[str, float]:
    return {"temperature": _TEMPERATURE[request.stage]}


def render(request: Request) -> str:
    """Return the prompt: the template's text with the concepts or the parent's text in it."""
    template = _template(request.template_text)
    if request.stage == "draft":
        return template.render(concepts=_concepts(request))
    return template.render(parent_text=request.parent_text, **request.fields)


@functools.lru_cache
def _template(text: str) -> jinja2.Template:
    return _JINJA.from_string(text)


def parse_score(text: str) -> str | None:
    """Return the last `SCORE: n` of a text, n from 0 to 10; None where there is none."""
    found = [score for score in _SCORE.findall(text) if float(score) <= 10]
    return found[-1] if found else None


def _finished(
    request: Request, prompt: str, text: str, model: str | None, parameters: dict[str, float]
) -> Generated:
    """Return a text with its parsed form: a score for an evaluation, else the text itself."""
    score = parse_score(text) if request.stage == "evaluation" else None
    lacking = request.stage == "evaluation" and score is None
    return Generated(
        text=text,
        prompt=prompt,
        parsed=score,
        unparsed="it has no line `SCORE: n`, n from 0 to 10" if lacking else None,
        provider_model=model,
        parameters=parameters,
    )


def _asked(body: dict[str, Any]) -> Any:
    """Return the completion; ask again only after a refusal, which proves that nothing was paid."""
    import tenacity  # noqa: PLC0415 - the offline generator does without it

    growing = tenacity.wait_random_exponential(multiplier=_FIRST_WAIT, max=_LONGEST_WAIT)

    def pause(state: Any) -> float:
        told = state.outcome.exception().response.headers.get("retry-after", "")
        return float(told) if told.isdecimal() else growing(state)

    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda error: getattr(error, "status_code", 0) == 429),
        stop=tenacity.stop_after_attempt(1 + _retries()),
        wait=pause,
        reraise=True,
    )
    return attempts(_client().with_options(max_retries=0).chat.completions.create, **body)


def _retries() -> int:
    return int(os.environ.get("OPENAI_MAX_RETRIES") or 4)


@functools.cache
def _client() -> Any:
    import openai  # noqa: PLC0415 - the offline generator does without it

    return openai.OpenAI(max_retries=_retries())


def _invented(request: Request, prompt: str) -> str:
    digest = hashlib.blake2b(f"{request.gen_id}\0{prompt}".encode(), digest_size=8).digest()
    lines = [f"{_WORDS[byte % len(_WORDS)].capitalize()}." for byte in digest[:5]]
    if request.stage == "evaluation":
        lines.append(f"SCORE: {digest[5] % 11}")
    return "\n".join([f"({request.stage} {request.gen_id})", *lines]) + "\n"


def _concepts(request: Request) -> list[dict[str, str]]:
    """Return the concepts of the draft's combo with their names and texts, by id."""
    root = request.data_root
    names = {row["concept_id"]: row["name"] for row in _rows(root / "1_raw/concepts_metadata.csv")}
    combos = (root / "2_tasks/selected_combo_mappings.csv", root / "combo_mappings.csv")
    rows = [
        row
        for path in combos
        if path.exists()
        for row in _rows(path)
        if row["combo_id"] == request.fields["combo_id"]
    ]
    levels = {row["concept_id"]: row["description_level"] for row in rows}
    return [
        {
            "name": names[concept],
            "text": (root / "concepts" / level / f"{concept}.txt").read_text("utf-8").strip(),
        }
        for concept, level in sorted(levels.items())
    ]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
