"""What goes to the host's callable, what comes back, and what became of each generation.

Defines records alone: nothing here reads a file or calls anybody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias

from attrs import field, frozen

from genid_store.errors import Problem, StoreError


@frozen(kw_only=True)
class Request:
    """One generation to make, as the host's callable sees it.

    `fields` are the signature's (`combo_id`, `template_id`, `llm_model_id`, `replicate`,
    `parent_gen_id`; those that apply). `parent_text` is the parent's `parsed.txt`, None for a
    root. `template_text` is empty where the store has no such template and needs none.
    `provider_model` is the model's name in `llm_models.csv`, None where it gives none.
    `unparsed_text` is a text that was paid for before and could not be parsed: parse it again
    rather than pay for another. `custom_id` is the task's id, the same in every run: the row of a
    batch, or an idempotency key. `data_root` is for tables of the host's own; nothing is written
    there by the host.
    """

    stage: str
    gen_id: str
    fields: Mapping[str, str | int]
    template_text: str
    parent_text: str | None
    metadata: Mapping[str, object]
    provider_model: str | None
    unparsed_text: str | None
    custom_id: str
    data_root: Path


@frozen(kw_only=True)
class Generated:
    """What the host's callable made.

    `text` is the model's answer, `prompt` what was sent, `parsed` the form that the next stage
    reads (without one it is `text`). `unparsed` says why no parsed form could be made: the text is
    kept, the generation counts as failed, and it is not paid for again unless asked.
    `provider_model`, `parameters` and `usage` (JSON values; of `usage`, numbers such as tokens and
    cost are shown) are recorded beside the text; they are not part of the identity.
    """

    text: str
    prompt: str | None = None
    parsed: str | None = None
    unparsed: str | None = None
    provider_model: str | None = None
    parameters: Mapping[str, object] | None = field(default=None)
    usage: Mapping[str, object] | None = field(default=None)

    @property
    def handed_on(self) -> str:
        """The text that the next stage reads."""
        return self.text if self.parsed is None else self.parsed


@frozen(kw_only=True)
class Asked:
    """What a run is asked for beyond what is missing: to try again what failed, to ask again for
    what could not be parsed, to pay for legacy members whose task is there and for those whose text
    is out of reach, or to give legacy members that text; to call nobody (`reuse_only`); at most how
    many calls (None: any number)."""

    retry_failed: bool = False
    retry_unparsed: bool = False
    pay_again: bool = False
    reuse: bool = False
    reuse_only: bool = False
    max_calls: int | None = None


#: The host's callable, plain or `async def`. It is called from several threads at once (an `async
#: def` one runs on one event loop) and may raise anything.
Generator: TypeAlias = Callable[[Request], str | Generated | Awaitable[str | Generated]]


def nobody(request: Request) -> str:
    """Stand for a callable where none is to be called."""
    raise AssertionError("nothing is to be called")


#: made: the callable was called. copied: the draft's text. reused: content was there.
#: adopted: the task's text was there under another id. failed: the callable refused, or what it
#: gave could not be stored. unparsed: text is there, its parsed form is not. unreachable: text is
#: there and cannot be reached. refused: nothing was called, and nothing is on record. blocked: the
#: parent has no content, or the task is perhaps paid for. waiting: the task is in a batch at the
#: provider. stopped: interrupted before it began. missing: it is to be paid for.
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

#: The fields of an answer that may be absent; each is a text.
_COMPANIONS: Final = ("prompt", "parsed", "unparsed", "provider_model")

#: The option of `Asked` by which what is in a state, or came to an end, is asked for again.
WAYS: Final[Mapping[str, str]] = {
    "failed": "retry_failed",
    "unparsed": "retry_unparsed",
    "unreachable": "pay_again",
}

#: The outcomes after which a generation has content.
COMPLETE: Final[frozenset[Kind]] = frozenset({"made", "copied", "reused", "adopted"})


@frozen(kw_only=True)
class Outcome:
    """What became of one generation. `version` fingerprints its content (BLAKE3, hex); `ways` are
    the options by which another run would go on, as for `Problem`."""

    stage: str
    gen_id: str
    kind: Kind
    reason: str = ""
    ways: tuple[str, ...] = ()
    version: str | None = None
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        return self.kind in COMPLETE


class AnswerError(StoreError):
    """An answer that is paid for holds no text."""


def as_generated(answer: object, name: str = "the callable") -> Generated:
    """Return the answer of the callable called `name` as a record.

    What came is paid for, whatever it is: an answer of a wrong type, or a text beside which another
    field is wrong, comes back as one that could not be parsed.

    AnswerError: the answer holds no text (an empty answer is a failure, not content).
    """
    generated = Generated(text=answer) if isinstance(answer, str) else answer
    if not isinstance(generated, Generated):
        return _of_wrong_type(answer, name)
    if not isinstance(generated.text, str):
        return _of_wrong_type(generated.text, name)
    if not generated.text.strip():
        problem = Problem(
            where="the generator's answer",
            message="there is no text in it",
            value=generated.text,
            remedy="look at what the provider returned before it is asked again",
        )
        raise AnswerError("the generator's answer cannot be used", [problem])
    companions = {name: getattr(generated, name) for name in _COMPANIONS}
    wrong = [name for name, value in companions.items() if not isinstance(value, str | None)]
    if not wrong:
        return generated
    reasons = [f"{name} is not a str but a {type(companions[name]).__name__}" for name in wrong]
    kept = {name: None if name in wrong else companions[name] for name in ("prompt", "parsed")}
    return Generated(
        text=generated.text,
        unparsed=", ".join(reasons),
        parameters=generated.parameters,
        usage=generated.usage,
        provider_model=None if "provider_model" in wrong else generated.provider_model,
        **kept,
    )


#: What `Generated.unparsed` says where the callable does not keep to its contract.
WRONG_TYPE: Final = " returned neither a str nor a Generated but "


def _of_wrong_type(answer: object, name: str) -> Generated:
    if isinstance(answer, bytes):
        text = answer.decode("utf-8", "backslashreplace")
    else:
        text = _shown_whole(answer)
    given = "None" if answer is None else f"a value of the type {type(answer).__name__}"
    reason = f"{name}{WRONG_TYPE}{given}; let it return the model's text"
    return Generated(text=text or "(nothing)", unparsed=reason)


def _shown_whole(value: object) -> str:
    """Return `repr(value)`, or its type where that raises."""
    try:
        return repr(value)
    except Exception:  # the host's object may do anything
        return f"<{type(value).__name__}>"
