"""Call the host's callable, plain or `async def`, and classify what it raises."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import re
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn

import genid
from genid_store.errors import StoreError
from genid_store.generation.records import AnswerError, NotPaid

#: The longest reason that is kept, in characters: some providers answer with whole pages.
REASON_LIMIT: Final = 2_000
#: What looks like a secret in an error's text: a bearer token, a key, a password in a URL.
_SECRET: Final = re.compile(
    r"(?i)(bearer\s+|\b(?:api[-_]?key|key|token|secret|password|authorization)\b[\"']?\s*[=:]\s*"
    r"[\"']?(?:bearer\s+)?|://[^/\s:@]*:)[^\s\"'&@,}]{4,}|\bsk-[A-Za-z0-9_-]{8,}"
)
_HTTP_UNPAID: Final = {401, 403, 404, 407, 429, 503}
#: What well-known clients raise if there is no key or the provider cannot be reached. Their errors
#: for a broken connection are not listed, because the request may have been sent.
_CLIENTS_UNPAID: Final = {
    "OpenAIError",
    "ConnectError",
    "ConnectTimeout",
    "NewConnectionError",
    "NameResolutionError",
}
#: The name of an environment variable that holds a key.
_KEY_VARIABLE: Final = re.compile(r"[A-Z0-9_]*(KEY|TOKEN|SECRET)[A-Z0-9_]*")
_MAX_CAUSES: Final = 8
#: How the paths of code begin that no host wrote: genid's three packages, and the standard library.
_GENID: Final = genid.__path__[0]
_PYTHON: Final = (os.path.dirname(os.__file__) + os.sep, "<frozen ")
_INSTALLED: Final = re.compile(r"[\\/](site|dist)-packages[\\/]")

_starting = threading.Lock()
os.register_at_fork(
    before=_starting.acquire, after_in_parent=_starting.release, after_in_child=_starting.release
)
_loops: dict[int, asyncio.AbstractEventLoop] = {}  # by process


def answer(call: Callable[..., Any], *arguments: Any) -> Any:
    """Return the answer of a host's callable.

    All coroutines of `async def` callables run on one event loop of this process, so that a client
    the host keeps can serve every call.

    RuntimeError: it raised an exception that would end more than this generation (an exit, a
    cancellation, an interrupt). An interrupt of the main thread is the user's and is passed on.
    """
    process = os.getpid()
    try:
        result = call(*arguments)
        if inspect.isawaitable(result):
            result = asyncio.run_coroutine_threadsafe(_awaited(result), _running_loop()).result()
    except BaseException as error:
        if os.getpid() != process:
            _end_child(error)
        # Only the main thread gets signals: in another one, the callable itself interrupts. Hosts
        # may replace `current_thread` (gevent), not the system's number of a thread.
        in_main = threading.get_native_id() == threading.main_thread().native_id
        if isinstance(error, Exception) or (in_main and isinstance(error, KeyboardInterrupt)):
            raise
        raise _ended(error) from error
    if os.getpid() != process:
        _end_child(None)
    return result


async def _awaited(result: Any) -> object:
    process = os.getpid()
    try:
        value = await result
    except BaseException as error:
        if os.getpid() != process:
            _end_child(error)
        if isinstance(error, Exception):
            raise
        raise _ended(error) from error  # an exit would end the loop, and later calls would hang
    if os.getpid() != process:
        _end_child(None)
    return value


def _ended(error: BaseException) -> RuntimeError:
    ended = RuntimeError(f"the callable raised {type(error).__name__}: {error}")
    return ended.with_traceback(error.__traceback__)


def _end_child(error: BaseException | None) -> NoReturn:
    """End a process that the callable forked, and that left it. Here it would release the leases of
    its parent, and remove or publish its parent's files."""
    status: object = 0
    if isinstance(error, SystemExit):
        status = error.code or 0
    elif error is not None:
        status = 1
        traceback.print_exception(error)
    os._exit(status if isinstance(status, int) else 1)


def _running_loop() -> asyncio.AbstractEventLoop:
    with _starting:
        if os.getpid() not in _loops:  # a forked child has none of its parent's threads
            loop = _loops[os.getpid()] = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="genid-async", daemon=True).start()
        return _loops[os.getpid()]


def refuse_on_loop() -> None:
    """NotPaid: the current thread runs the event loop of the callables, which would have to make
    the generations that it waits for."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    if loop is _loops.get(os.getpid()):
        remedy = "await asyncio.to_thread(store.once, ...)"
        raise NotPaid(f"an `async def` callable must not wait for a store; use {remedy}")


def is_unpaid(error: Exception) -> bool:
    """Return whether an error proves that nothing was paid for; the next run then retries unasked.

    Proof is an error of genid's own before the call, a missing key, a connection that was never
    made, or a status that refuses the request. A timeout, a broken connection or an incomplete
    answer proves nothing.
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
        isinstance(cause, ConnectionRefusedError | socket.gaierror)
        or type(cause).__name__ in _CLIENTS_UNPAID
        for cause in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those behind it: its cause, its reason, the error it wraps."""
    errors = [error]
    for current in errors:
        yield current
        behind = (current.__cause__, getattr(current, "reason", None), *current.args[:1])
        errors += [cause for cause in behind if isinstance(cause, BaseException)]
        if len(errors) > _MAX_CAUSES:
            return


def host_frame(error: BaseException) -> tuple[str, int, str] | None:
    """Return the file, line and function of the host's code that an error came through last; of an
    installed package if it came through no other code, since the host may be one. None: neither."""
    own = installed = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        file, function = frame.f_code.co_filename, frame.f_code.co_name
        if file.startswith(_GENID):
            continue
        if _INSTALLED.search(file):
            installed = (file, line, function)
        elif not file.startswith(_PYTHON):
            own = (file, line, function)
    return own or installed


def host_reason(error: BaseException) -> str:
    """Return a failure of the host's code as one line: `reason_of`, and where it was raised."""
    if (frame := host_frame(error)) is None:
        return reason_of(error)
    file, line, function = frame
    with contextlib.suppress(OSError):  # the current folder may be gone
        file = file.removeprefix(os.getcwd() + os.sep)
    return f"{reason_of(error)} ({file}:{line} in {function})"


def reason_of(error: BaseException) -> str:
    """Return a failure as one line: a StoreError's text, or an exception's type and text. What
    looks like a secret is masked, and a long text is cut to REASON_LIMIT characters."""
    if isinstance(error, StoreError):
        text = "; ".join([error.summary, *map(str, error.problems)])
    else:
        try:
            message = str(error)
        except Exception:  # a host's exception may raise in `__str__`
            message = "(its text cannot be shown)"
        text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    text = _SECRET.sub(lambda match: (match[1] or "") + "[...]", text)
    if len(text) <= REASON_LIMIT:
        return text
    return f"{text[:REASON_LIMIT]} ... ({len(text) - REASON_LIMIT} more characters)"
