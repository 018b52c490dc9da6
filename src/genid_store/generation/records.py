"""The request to the host's callable, its answer, and the outcome of each generation.

Only records are defined here: nothing reads a file or calls anyone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias

from attrs import fields_dict, frozen

from genid_store.errors import StoreError


@frozen(kw_only=True)
class Request:
    """One generation to make, as the host's callable sees it.

    `fields` are the fields of the signature that apply (`combo_id`, `template_id`, `llm_model_id`,
    `replicate`, `parent_gen_id`). `parent_text` is the parent's `parsed.txt`, None for a root.
    `provider_model` is the model's name in `llm_models.csv`, None if that has none.
    `unparsed_text` is a text that was paid for and could not be parsed: parse it again rather than
    pay for another. `custom_id` is the task's id, the same in every run; use it as the row of a
    batch or as an idempotency key. `data_root` is for reading the host's own tables; the host must
    not write there.
    """

    stage: str
    gen_id: str
    fields: Mapping[str, str | int]
    _template_text: str | None
    parent_text: str | None
    metadata: Mapping[str, object]
    provider_model: str | None
    unparsed_text: str | None
    custom_id: str
    data_root: Path

    @property
    def template_text(self) -> str:
        """The text of `templates/<stage>/<template_id>.txt`.

        TemplateMissing: there is no such file; a prompt built from it would be paid for and empty.
        """
        if self._template_text is None:
            name = self.fields.get("template_id", "<template_id>")
            raise TemplateMissing.of(
                "there is no template to make the prompt from",
                f"templates/{self.stage}/{name}.txt",
                "is missing",
                "create it, in a folder with exactly the stage's name",
            )
        return self._template_text


@frozen(kw_only=True)
class Generated:
    """The answer of the host's callable.

    `text` is the model's answer, `prompt` is what was sent, and `parsed` is the form that the next
    stage reads (`text` if it is None). `unparsed` says why there is no parsed form: the text is
    kept, the generation counts as unparsed, and it is only paid for again on request.
    `provider_model`, `parameters` and `usage` are recorded beside the text and are not part of the
    identity. The last two hold JSON values; reports show the numbers in `usage`, such as tokens
    and cost.
    """

    text: str
    prompt: str | None = None
    parsed: str | None = None
    unparsed: str | None = None
    provider_model: str | None = None
    parameters: Mapping[str, object] | None = None
    usage: Mapping[str, object] | None = None

    @property
    def handed_on(self) -> str:
        """The text that the next stage reads."""
        return self.text if self.parsed is None else self.parsed


@frozen(kw_only=True)
class WrongAnswer(Generated):
    """An answer of a wrong type, kept as text; the callable breaks its contract. `is_none` if there
    is nothing in it to parse later."""

    is_none: bool = False


@frozen(kw_only=True)
class Asked:
    """The options of a run beyond making what is missing.

    `retry_failed` retries what failed, `retry_unparsed` requests another text for what could not be
    parsed. `pay_again` pays for legacy members whose task the store has, and where a text is out of
    reach; `reuse` gives legacy members the existing text instead. `reuse_only` calls no one.
    `max_calls` limits the calls (None: no limit).
    """

    retry_failed: bool = False
    retry_unparsed: bool = False
    pay_again: bool = False
    reuse: bool = False
    reuse_only: bool = False
    max_calls: int | None = None


#: The host's callable, plain or `async def`. It is called from several threads concurrently (an
#: `async def` one runs on one event loop) and may raise anything.
Generator: TypeAlias = Callable[[Request], str | Generated | Awaitable[str | Generated]]


def never_called(request: Request) -> str:
    """Take the place of a callable in a run that calls no one."""
    raise AssertionError("no callable was given")


#: made: the callable was called. copied: the draft's text was copied. reused: content existed.
#: adopted: the task's text existed under another id. failed: the callable raised, or its answer
#: could not be stored. unparsed: the text exists, its parsed form does not. unreachable: the text
#: exists and cannot be reached. refused: nothing was paid for, and nothing is recorded. blocked:
#: the parent has no content, or the task is possibly paid for. waiting: the task is in a batch at
#: the provider. stopped: interrupted before it began. missing: it has to be paid for.
Kind: TypeAlias = Literal[
    "made",
    "copied",
    "reused",
    "adopted",
    "failed",
    "unparsed",
    "unreachable",
    "refused",
    "blocked",
    "waiting",
    "stopped",
    "missing",
]

#: The optional texts of an answer.
_COMPANIONS: Final = ("prompt", "parsed", "unparsed", "provider_model")

#: The option of `Asked` that retries a generation in this state, or with this outcome.
WAYS: Final[Mapping[str, str]] = {
    "failed": "retry_failed",
    "unparsed": "retry_unparsed",
    "unreachable": "pay_again",
}

#: The outcomes after which a generation has content.
COMPLETE: Final[frozenset[Kind]] = frozenset({"made", "copied", "reused", "adopted"})


@frozen(kw_only=True)
class Outcome:
    """The outcome of one generation. `version` fingerprints its content (BLAKE3, hex); `remedy` is
    what to do before another run, if that is known, and `ways` are the options with which it would
    continue, as for `Problem`."""

    stage: str
    gen_id: str
    kind: Kind
    reason: str = ""
    remedy: str = ""
    ways: tuple[str, ...] = ()
    version: str | None = None
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.stage} {self.gen_id} {self.kind}: {self.reason}"

    @property
    def complete(self) -> bool:
        return self.kind in COMPLETE


class NotPaid(Exception):  # noqa: N818 - it states a fact rather than an error
    """Raised by a host's callable to say that nothing was paid for: the next run tries again."""


class TemplateMissing(StoreError):  # noqa: N818 - it says what is missing
    """A callable asked for the text of a template without a file; it may have paid before that."""


class AnswerError(StoreError):
    """An answer that was paid for has no text."""


def as_generated(answer: object, name: str = "the callable") -> Generated:
    """Return the answer of the callable called `name` as a record.

    Any answer is paid for, so none is thrown away. One of a wrong type becomes a `WrongAnswer`, and
    a text with another field of a wrong type is returned as unparsed.

    AnswerError: the answer has no text (an empty answer is a failure, not content).
    """
    generated = Generated(text=answer) if isinstance(answer, str) else answer
    if not isinstance(generated, Generated):
        return _of_wrong_type(answer, name)
    if not isinstance(generated.text, str):
        return _of_wrong_type(generated.text, name)
    if not generated.text.strip():
        raise AnswerError.of(
            "the generator's answer cannot be used",
            "the generator's answer",
            "there is no text in it",
            "check what the provider returned before retrying",
            value=generated.text,
        )
    values = {name: getattr(generated, name) for name in fields_dict(Generated)}
    wrong = [name for name in _COMPANIONS if not isinstance(values[name], str | None)]
    if not wrong:
        return generated
    reasons = [f"{name} is not a str but a {type(values[name]).__name__}" for name in wrong]
    return Generated(**{**values, **dict.fromkeys(wrong), "unparsed": ", ".join(reasons)})


def _of_wrong_type(answer: object, name: str) -> WrongAnswer:
    if isinstance(answer, bytes):
        text = answer.decode("utf-8", "backslashreplace")
    else:
        try:
            text = repr(answer)
        except Exception:  # the host's object may do anything
            text = f"<{type(answer).__name__}>"
    what = "None" if answer is None else f"a value of the type {type(answer).__name__}"
    reason = f"{name} returned neither a str nor a Generated but {what}"
    return WrongAnswer(
        text=text or "(nothing)",
        unparsed=f"{reason}; make it return the model's text",
        is_none=answer is None,
    )
