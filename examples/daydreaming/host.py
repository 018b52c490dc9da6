"""A small host: Jinja prompt templates, a `SCORE:` parser, and two ways to make a text.

`offline` invents a text from the prompt, the same for the same generation, without any network.
`openai_compatible` asks an endpoint that speaks the OpenAI protocol; OPENAI_BASE_URL and
OPENAI_API_KEY say which, as for any program that uses the `openai` client, and OPENAI_MAX_RETRIES
(default 4) how often it tries again after a rate limit or an error of the server.

The adapter calls one of them with a request and does the rest: paths, parents, skipping, writing.
"""

import csv
import functools
import hashlib
import os
import re
from pathlib import Path
from typing import Any

import jinja2

from genid_store import Generated, Request

_JINJA = jinja2.Environment(
    undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True
)
_SCORE = re.compile(r"^\W*SCORE\W*:\W*([0-9]+(?:\.[0-9]+)?)\W*$", re.IGNORECASE | re.MULTILINE)
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
    """Ask an OpenAI-compatible endpoint. Raises what the client raises after its last retry."""
    prompt = render(request)
    if request.unparsed_text is not None:  # paid for before: perhaps the parser has learned
        return _finished(request, prompt, request.unparsed_text, request.provider_model, {})
    parameters = {"temperature": _TEMPERATURE[request.stage]}
    answer = _client().chat.completions.create(
        model=request.provider_model or str(request.fields["llm_model_id"]),
        messages=[{"role": "user", "content": prompt}],
        **parameters,
    )
    choice = answer.choices[0]
    if not choice.message.content:
        raise RuntimeError(f"the endpoint returned no text (finish reason {choice.finish_reason})")
    return _finished(request, prompt, choice.message.content, answer.model, parameters)


def render(request: Request) -> str:
    """Return the prompt: the template's text with the concepts or the parent's text in it."""
    template = _JINJA.from_string(request.template_text)
    if request.stage == "draft":
        return template.render(concepts=_concepts(request))
    return template.render(parent_text=request.parent_text, **request.fields)


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


@functools.cache
def _client() -> Any:
    import openai  # noqa: PLC0415 - the offline generator does without it

    return openai.OpenAI(max_retries=int(os.environ.get("OPENAI_MAX_RETRIES", "4")))


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
