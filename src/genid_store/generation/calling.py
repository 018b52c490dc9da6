"""Call the host's callable, plain or `async def`, and sort what it raises."""

from __future__ import annotations

import asyncio
import inspect
import re
import socket
import threading
from typing import Any, Final

from genid_store.errors import StoreError
from genid_store.generation.records import AnswerError, Generator, Request

#: The longest reason that is kept, in characters: providers answer errors with whole pages.
REASON_LIMIT: Final = 2_000
#: What looks like a secret in an error's text: a bearer token, a key, a password in a URL.
_SECRET: Final = re.compile(
    r"(?i)(bearer\s+|\b(?:api[-_]?key|key|token|secret|password|authorization)\b[\"']?\s*[=:]\s*"
    r"[\"']?(?:bearer\s+)?|://[^/\s:@]*:)[^\s\"'&@,}]{4,}|\bsk-[A-Za-z0-9_-]{8,}"
)
_HTTP_UNPAID: Final = {401, 403, 404, 407, 429, 503}
#: What well-known clients raise without a key, or where the provider cannot be reached.
_CLIENTS_UNPAID: Final = {"OpenAIError", "APIConnectionError", "ConnectError"}


class NotPaid(Exception):  # noqa: N818 - a host raises it to say so
    """Raised by a host's callable to say that nothing was paid for: the next run tries again."""


class Caller:
    """Calls the callable; what an `async def` one returns runs on one event loop of our own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def answer(self, generator: Generator, request: Request) -> object:
        """Return what the callable gives. RuntimeError: it raised what would end more than this one
        generation (an exit, a cancellation); an interrupt is passed on."""
        try:
            found: object = generator(request)
            if inspect.isawaitable(found):
                return asyncio.run_coroutine_threadsafe(_awaited(found), self._running()).result()
            return found
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise RuntimeError(f"the callable raised {type(error).__name__}: {error}") from error

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                run = self._loop.run_forever
                threading.Thread(target=run, name="genid-async", daemon=True).start()
            return self._loop


async def _awaited(found: Any) -> object:
    return await found


def is_unpaid(error: Exception) -> bool:
    """Say whether an error shows that nothing was paid for, so that the next run tries again by
    itself: a refusal of our own before the call, no key, no connection, a refusing status. A
    time-out shows nothing.
    """
    if isinstance(error, StoreError):
        return not isinstance(error, AnswerError)
    if isinstance(error, NotPaid | ConnectionRefusedError | ImportError | socket.gaierror):
        return True
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    if isinstance(status, int):
        return status in _HTTP_UNPAID
    if isinstance(error, KeyError):  # os.environ["..._API_KEY"]
        return "KEY" in str(error).upper()
    return type(error).__name__ in _CLIENTS_UNPAID


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
