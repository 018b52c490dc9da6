r"""Standard output and standard error of a command, and the characters that may reach them.

Texts come from outside: ids, metadata, error messages, a generator's prints. Characters that could
control a terminal or reorder its text are written as escapes (`\x1b`). With `--json`, standard
output gets the document alone. All other output goes to standard error, also that of libraries
which write to the file descriptor.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Final, TextIO

#: Control characters other than line feed and tab, directional formatting, line separators.
_UNSAFE: Final = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
_STDOUT: Final = 1  # the descriptor

_documents: ContextVar[TextIO | None] = ContextVar("documents", default=None)


class OutputError(Exception):
    """Standard output cannot be written: its reader has closed it, or its disk is full."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or type(error).__name__)
        self.reader_gone = error.errno == errno.EPIPE


def written_out(text: str) -> str:
    r"""Return a text with unsafe characters as escapes: `\x1b`, `\u202e`."""
    return _UNSAFE.sub(_escape, text)


def written_out_line(value: object) -> str:
    """Return a value as text on one line, with unsafe characters as escapes."""
    return written_out(str(value)).replace("\n", r"\n").replace("\t", r"\t")


def json_safe(text: str) -> str:
    """Return a JSON document with unsafe characters as JSON escapes."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class Screen:
    """A text stream that escapes unsafe characters; otherwise like the stream it wraps.

    OutputError: the stream cannot be written. A `last_resort` stream ignores that, because there is
    no other place to report it.
    """

    def __init__(self, stream: TextIO, *, last_resort: bool = False) -> None:
        self.plain = stream  # for rich, which writes colours on purpose
        self._last_resort = last_resort

    def write(self, text: str) -> int:
        with self._guarded():
            self.plain.write(written_out(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with self._guarded():
            self.plain.flush()

    def close(self) -> None:
        self.flush()  # a host's module may be done with the stream, but the command is not

    def detach(self) -> Any:
        self.flush()
        return self.plain.buffer

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not self._last_resort:
                raise OutputError(error) from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)


def plain(stream: Any) -> Any:
    """Return the stream below a Screen, for a writer of colours that escapes its texts itself."""
    return stream.plain if isinstance(stream, Screen) else stream


def document_stream() -> Any:
    """Return the stream for a JSON document."""
    return _documents.get() or sys.stdout


@contextlib.contextmanager
def standard_streams(*, as_json: bool) -> Iterator[None]:
    """Make everything in the block write through Screens; `as_json` reserves standard output for
    documents.

    OutputError: standard output cannot be written. The rest of its buffer is discarded.
    """
    out, err = sys.stdout, sys.stderr
    sys.stderr = Screen(err, last_resort=True)
    try:
        if as_json:
            sys.stdout = sys.stderr
            with _set_apart(out) as documents:
                token = _documents.set(documents)
                try:
                    yield
                finally:
                    _documents.reset(token)
        else:
            sys.stdout = Screen(out)
            yield
            sys.stdout.flush()
    except OutputError:
        _discard_output(out)
        raise
    finally:
        sys.stdout, sys.stderr = out, err


@contextlib.contextmanager
def _set_apart(out: TextIO) -> Iterator[Any]:
    """Yield a stream to standard output, whose descriptor is standard error's meanwhile."""
    if not _is_standard(out):
        yield Screen(out)
        return
    out.flush()
    kept = os.dup(_STDOUT)
    try:
        os.dup2(2, _STDOUT)
        encoding = out.encoding or "utf-8"
        with open(os.dup(kept), "w", encoding=encoding, errors="backslashreplace") as documents:
            screen = Screen(documents)
            try:
                yield screen
                screen.flush()
            except OutputError:
                _redirect_to_null(documents.fileno())
                raise
    finally:
        os.dup2(kept, _STDOUT)
        os.close(kept)


def _is_standard(stream: TextIO) -> bool:
    try:
        return stream.fileno() == _STDOUT
    except (OSError, ValueError, AttributeError):
        return False


def _discard_output(out: TextIO) -> None:
    """Discard what is buffered, because the interpreter would flush it again at exit, and fail."""
    if _is_standard(out):
        _redirect_to_null(_STDOUT)


def _redirect_to_null(descriptor: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)
