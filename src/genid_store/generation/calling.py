"""Call the host's callable, plain or `async def`, and sort what it raises."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

from genid_store.errors import StoreError
from genid_store.generation.records import AnswerError

#: The longest reason that is kept, in characters: providers answer errors with whole pages.
REASON_LIMIT: Final = 2_000
#: What looks like a secret in an error's text: a bearer token, a key, a password in a URL.
_SECRET: Final = re.compile(
    r"(?i)(bearer\s+|\b(?:api[-_]?key|key|token|secret|password|authorization)\b[\"']?\s*[=:]\s*"
    r"[\"']?(?:bearer\s+)?|://[^/\s:@]*:)[^\s\"'&@,}]{4,}|\bsk-[A-Za-z0-9_-]{8,}"
)
_HTTP_UNPAID: Final = {401, 403, 404, 407, 429, 503}
#: What well-known clients raise without a key, or where the provider cannot be reached. What they
#: raise for any broken connection is not among them: the request may have been sent.
_CLIENTS_UNPAID: Final = {
    "OpenAIError",
    "ConnectError",
    "ConnectTimeout",
    "NewConnectionError",
    "NameResolutionError",
}
#: The name of an environment variable that holds a key.
_KEY_VARIABLE: Final = re.compile(r"[A-Z0-9_]*(KEY|TOKEN|SECRET)[A-Z0-9_]*")
_CAUSES: Final = 8  # errors behind an error that are looked at

_starting = threading.Lock()
os.register_at_fork(
    before=_starting.acquire, after_in_parent=_starting.release, after_in_child=_starting.release
)
_loops: dict[int, asyncio.AbstractEventLoop] = {}  # by process


class NotPaid(Exception):  # noqa: N818 - a host raises it to say so
    """Raised by a host's callable to say that nothing was paid for: the next run tries again."""


def answer(call: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a host's callable gives; what an `async def` one returns runs on one event loop
    of this process, so that a client of its own serves all calls.

    RuntimeError: it raised what would end more than this one generation (an exit, a cancellation);
    an interrupt is passed on.
    """
    try:
        found = call(*arguments)
        if inspect.isawaitable(found):
            return asyncio.run_coroutine_threadsafe(_awaited(found), _running_loop()).result()
        return found
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise _ended(error) from error


async def _awaited(found: Any) -> object:
    try:
        return await found
    except Exception:
        raise
    except BaseException as error:  # an exit would end the loop, and every later call would wait
        raise _ended(error) from error


def _ended(error: BaseException) -> RuntimeError:
    return RuntimeError(f"the callable raised {type(error).__name__}: {error}")


def _running_loop() -> asyncio.AbstractEventLoop:
    with _starting:
        if os.getpid() not in _loops:  # a forked child has none of its parent's threads
            loop = _loops[os.getpid()] = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="genid-async", daemon=True).start()
        return _loops[os.getpid()]


def refuse_on_loop() -> None:
    """NotPaid: this is the thread of the event loop on which callables run, and waiting for
    generations here would keep those from being made."""
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        return
    if here is _loops.get(os.getpid()):
        remedy = "await asyncio.to_thread(store.once, ...)"
        raise NotPaid(f"an `async def` callable waits for a store; there, {remedy}")


def is_unpaid(error: Exception) -> bool:
    """Say whether an error shows that nothing was paid for, so that the next run tries again by
    itself: a refusal of our own before the call, no key, no connection, a refusing status. A
    time-out or a connection that broke off shows nothing, and neither does a missing part of an
    answer.
    """
    if isinstance(error, StoreError):
        return not isinstance(error, AnswerError)
    if isinstance(error, NotPaid):
        return True
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    if isinstance(status, int):
        return status in _HTTP_UNPAID
    if isinstance(error, KeyError):  # os.environ["..._API_KEY"]
        return _KEY_VARIABLE.fullmatch(str(error.args[0]) if error.args else "") is not None
    return any(
        isinstance(one, ConnectionRefusedError | socket.gaierror)
        or type(one).__name__ in _CLIENTS_UNPAID
        for one in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it says it came of: its cause, its reason, the error it wraps."""
    found = [error]
    for one in found:
        yield one
        behind = (one.__cause__, getattr(one, "reason", None), *one.args[:1])
        found += [other for other in behind if isinstance(other, BaseException)]
        if len(found) > _CAUSES:
            return


def reason_of(error: BaseException) -> str:
    """Return one failure as a line: a StoreError's own, else the exception's type and text, without
    what looks like a secret and at most REASON_LIMIT characters of it."""
    if isinstance(error, StoreError):
        text = "; ".join([error.summary, *map(str, error.problems)])
    else:
        try:
            message = str(error)
        except Exception:  # a host's exception may raise in `__str__`
            message = "(its text cannot be shown)"
        text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    text = _SECRET.sub(lambda found: (found[1] or "") + "[...]", text)
    if len(text) <= REASON_LIMIT:
        return text
    return f"{text[:REASON_LIMIT]} ... ({len(text) - REASON_LIMIT} more characters)"
