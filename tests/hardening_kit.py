"""What the hardening tests share: fuzzing settings, damaged files, lost rights, full disks.

Fuzzing is derandomized: the same examples on every run, fewer by default and many with `--long`.
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

Test = TypeVar("Test", bound=Callable[..., None])
Value = TypeVar("Value")
Refusal = TypeVar("Refusal", bound=Exception)

#: Examples of each fuzzing test; `tests/hardening/conftest.py` raises it for the long form.
EXAMPLES = {"default": 60, "long": 1_000}
#: Seconds after which a command counts as hanging. Nothing here takes more than a few.
HANGS = 120.0

_examples = EXAMPLES["default"]


def use_long_form() -> None:
    """Make every fuzzing test that is defined from now on look at many examples."""
    global _examples  # noqa: PLW0603 - set once, before the tests are imported
    _examples = EXAMPLES["long"]


def fuzzed(*, share: float = 1.0) -> Callable[[Test], Test]:
    """Return the settings of a fuzzing test; `share` of the usual examples for a slow one."""
    return settings(
        max_examples=max(5, int(_examples * share)),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def attempt(
    refusal: type[Refusal], call: Callable[[], Value]
) -> tuple[Value, None] | tuple[None, Refusal]:
    """Return what a call gives, or its documented refusal; any other exception goes through."""
    try:
        return call(), None
    except refusal as error:
        return None, error


# -- damaged files ---------------------------------------------------------------------------------
NASTY_TEXTS = (
    "", " ", "\t", "\0", "..", "../x", "/etc/passwd", ".hidden", "-x", "a/b", "a\\b", "A", "é", "İ",
    "\u212a", "\ud800", "\u2028", "=1+1", "<script>", "x" * 300, "1", "0", "true", "None", "nan",
    "d_", "e_1", "v_2pkyzevzpngrcb4vm9d9j2b1mk", "d_2pkyzevzpngrcb4vm9d9j2b1mk", "6mnl1prnb7hitkpc",
)  # fmt: skip
nasty_texts = st.one_of(st.sampled_from(NASTY_TEXTS), st.text(max_size=20))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**31, 1e308, 3.0, -0.0])
    | nasty_texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(nasty_texts, inner, max_size=3),
    max_leaves=8,
)


class _Deep(bytes):
    def __repr__(self) -> str:
        return "DEEP"


DEEP = _Deep(b"[" * 50_000)  # deeper than any parser recurses


@st.composite
def damaged(draw: st.DrawFn, sound: bytes) -> bytes:
    """Draw `sound` with bytes replaced, inserted, cut out, cut off or put in front."""
    data = bytearray(sound)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        to = draw(st.integers(at, min(len(data), at + 40)))
        data[at:to] = draw(st.binary(max_size=6) | st.sampled_from([b"", b"\n", b",", b'"', b"\0"]))
    if draw(st.booleans()):
        del data[draw(st.integers(0, len(data))) :]
    return bytes(data)


@st.composite
def json_damaged(draw: st.DrawFn, sound: Mapping[str, Any]) -> bytes:
    """Draw the JSON of `sound` with members dropped, added or given values of any type."""
    record = dict(sound)
    for name in draw(st.lists(st.sampled_from([*sound, "other", ""]), max_size=4)):
        if draw(st.booleans()):
            record.pop(name, None)
        else:
            record[name] = draw(json_values)
    return json.dumps(record).encode("utf-8", "surrogatepass")


# -- a data root that must not be left -----------------------------------------------------------
def tree(folder: Path) -> dict[str, bytes]:
    """Return what lies below a folder: relative names and bytes, links by their targets."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = b"-> " + os.fsencode(os.readlink(path))
        elif path.is_file():
            found[name] = path.read_bytes()
        else:
            found[f"{name}/"] = b""
    return found


def without_own(found: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return a tree less `.genid/`, which holds nothing of the pipeline's."""
    return {name: data for name, data in found.items() if name.split("/")[0] != ".genid"}


# -- commands in processes of their own ----------------------------------------------------------
def command(
    *arguments: object,
    environ: Mapping[str, str] | None = None,
    unprivileged: bool = False,
    limits: Callable[[], None] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `genid` with arguments in a process of its own; it is killed where it hangs."""
    return subprocess.run(
        arguments_of(*arguments),
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGS,
        env=environment(environ),
        preexec_fn=without_privileges if unprivileged else limits,
    )


def arguments_of(*arguments: object) -> list[str]:
    """Return the command line that runs `genid` with this interpreter."""
    return [sys.executable, "-m", "genid_dagster_adapter", *map(str, arguments)]


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without the product's and Dagster's variables."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DD_", "GENID_", "DAGSTER_", "COV_"))
    }
    return kept | dict(changes or {})


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """Assert that a command refused with one message and no traceback; return the message."""
    assert "Traceback" not in done.stderr, done.stderr
    assert 1 == done.returncode, (done.stdout, done.stderr)
    assert done.stderr.startswith("genid: ")
    return done.stderr


def need_linux_root() -> None:
    """Skip where this process is not root on Linux: rights cannot be taken from it then."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("needs root on Linux, which other users' rights are tried from")


def without_privileges() -> None:
    """Let permission bits count for root too: drop three capabilities before the program starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2, 3):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER
        if libc.prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
            os._exit(97)


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a tmpfs of `size` at `folder`; skips where that is not allowed."""
    need_linux_root()
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def start(arguments: Sequence[object], **options: Any) -> subprocess.Popen[str]:
    """Start `genid` without waiting for it; its output is captured."""
    return subprocess.Popen(
        arguments_of(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(options.pop("environ", None)),
        **options,
    )


# -- faults at every step --------------------------------------------------------------------------
STEPS = ("open", "mkdir", "rename", "replace", "link", "unlink", "rmdir", "write", "fsync")


@contextlib.contextmanager
def faulty(folder: Path, at: int, strike: Callable[[str, str], None]) -> Iterator[list[str]]:
    """Call `strike(step, path)` before the change number `at` below `folder`; count from 1.

    A change is a call of the system that writes: files opened for writing, and STEPS. Yields the
    list of the changes so far, which an `at` of 0 makes a plain count.
    """
    seen: list[str] = []
    inside = os.fspath(folder)
    originals = {name: getattr(os, name) for name in STEPS}
    plain_open = builtins.open

    def note(step: str, where: object) -> None:
        path = os.fspath(where) if isinstance(where, str | os.PathLike) else ""
        if path and not str(path).startswith(inside):
            return
        seen.append(f"{step} {path}")
        if len(seen) == at:
            strike(step, str(path))

    def wrapped(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            writes = name != "open" or arguments[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if writes:
                note(name, arguments[0])
            return originals[name](*arguments, **options)

        return call

    def opened(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if set(mode) & set("wxa+"):
            note("create", file)
        return plain_open(file, mode, *arguments, **options)

    with contextlib.ExitStack() as stack:
        for name in STEPS:
            stack.enter_context(mock.patch.object(os, name, wrapped(name)))
        stack.enter_context(mock.patch.object(builtins, "open", opened))
        yield seen


def disk_full(step: str, path: str) -> None:
    """Refuse a change as a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def killed(work: Callable[[], object], folder: Path, at: int) -> bool:
    """Do `work` in a child that SIGKILL ends before its change number `at`; say whether it came
    that far."""
    child = os.fork()
    if child == 0:
        try:
            with faulty(folder, at, lambda *_: os.kill(os.getpid(), signal.SIGKILL)):
                work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def sample(count: int, wanted: int) -> list[int]:
    """Return the numbers 1 to `count`, or some `wanted` of them evenly spread in the short form."""
    if _examples == EXAMPLES["long"] or count <= wanted:
        return list(range(1, count + 1))
    return sorted({1 + round(index * (count - 1) / (wanted - 1)) for index in range(wanted)})
