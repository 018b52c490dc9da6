"""What the hardening tests share: fuzzing settings, damaged files, lost rights, full disks.

Fuzzing is derandomized: the same examples on every run, fewer by default and many with `--long`.
"""

from __future__ import annotations

import builtins
import contextlib
import copy
import ctypes
import errno
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import traceback
import unicodedata
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
    """Draw the JSON of `sound` with members at any depth dropped, added, given other values or
    given twice, and perhaps in another encoding."""
    record = copy.deepcopy(dict(sound))
    twice = ""
    for _ in range(draw(st.integers(1, 3))):
        spot: Any = record
        inner: list[Any] = [spot]
        while len(inner) > 0 and draw(st.booleans()):
            spot = draw(st.sampled_from(inner))
            values = spot.values() if isinstance(spot, dict) else spot
            inner = [one for one in values if isinstance(one, dict | list) and one]
        key = draw(
            st.sampled_from([*spot, "other", ""] if isinstance(spot, dict) else range(len(spot)))
        )
        how = draw(st.sampled_from(["drop", "change", "twice"]))
        if how == "change":
            spot[key] = draw(json_values | st.sampled_from(["x" * 70_000, 10**400, [[]] * 9]))
        elif how == "twice":
            twice = f"{json.dumps(key)}: {json.dumps(draw(json_values))}, "
        elif isinstance(spot, dict):
            spot.pop(key, None)
        else:
            del spot[key]
    text = json.dumps(record)
    text = f"{{{twice}{text[1:]}"
    encoding = draw(st.sampled_from(["utf-8"] * 4 + ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"]))
    return text.encode(encoding, "surrogatepass") + draw(
        st.sampled_from([b""] * 6 + [b"\0", b"{}"])
    )


# -- what is not a file ---------------------------------------------------------------------------
def _folder(path: Path) -> None:
    path.mkdir()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _unix_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's name is short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere/at/all")


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _link_to_a_folder(path: Path) -> None:
    path.symlink_to(".")


def _sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(2 * 2**30)


#: What can stand where a file belongs; each puts it there.
IN_ITS_PLACE = (_folder, _pipe, _unix_socket, _device, _dangling, _loop, _link_to_a_folder, _sparse)


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
    return [sys.executable, "-m", "genid_store", *map(str, arguments)]


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


# -- file systems of one's own ---------------------------------------------------------------------
_NEW_MOUNTS, _NEW_USERS = 0x00020000, 0x10000000  # CLONE_NEWNS, CLONE_NEWUSER
_READ_ONLY, _REMOUNT, _PRIVATE = 1, 32, (1 << 14) | (1 << 18)  # MS_RDONLY, MS_REMOUNT, MS_REC|...
NO_MOUNTS = b"no mounts: "


def on_a_disk(folder: Path, options: str, scenario: Callable[[Path], None]) -> None:
    """Run `scenario` over a tmpfs mounted at `folder`, in a child that alone sees it.

    Mounting takes root or a user namespace; where there is neither, the test is skipped with the
    system's reason. What the scenario raises fails the test with its traceback.
    """
    folder.mkdir()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        told = b""
        try:
            _mount_privately(folder, options)
            scenario(folder)
        except _NoMountsError as error:
            told = NO_MOUNTS + str(error).encode()
        except BaseException:  # the parent fails with what it is told
            told = traceback.format_exc().encode()
        finally:
            os.write(writing, told[-60_000:])  # a pipe holds so much without a reader
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    if told.startswith(NO_MOUNTS):
        pytest.skip(f"no file system can be mounted here: {told[len(NO_MOUNTS) :].decode()}")
    if told or status:
        pytest.fail(f"over {folder} (status {status}):\n{told.decode(errors='replace')}")


def remount(folder: Path, *, read_only: bool) -> None:
    """Make the file system at `folder`, mounted by `on_a_disk`, read-only or writable again."""
    _call("mount", None, folder, None, _REMOUNT | (_READ_ONLY if read_only else 0), None)


def remount_with(folder: Path, options: str) -> None:
    """Give the file system at `folder`, mounted by `on_a_disk`, other options."""
    _call("mount", None, folder, None, _REMOUNT, options)


def fill(disk: Path) -> Path:
    """Take every free block of a file system; return the file to remove for having them back."""
    ballast = disk / "ballast"
    free = os.statvfs(disk)
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    os.posix_fallocate(descriptor, 0, free.f_bavail * free.f_frsize)
    os.close(descriptor)
    return ballast


class _NoMountsError(Exception):
    """This system lets us mount nothing."""


def _mount_privately(folder: Path, options: str) -> None:
    if not sys.platform.startswith("linux"):
        raise _NoMountsError("not on Linux")
    user, group = os.getuid(), os.getgid()
    try:
        if user != 0 or not _may(lambda: _call("unshare", _NEW_MOUNTS)):
            _call("unshare", _NEW_MOUNTS | _NEW_USERS)
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {user} 1")
            Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        _call("mount", None, "/", None, _PRIVATE, None)
        _call("mount", "tmpfs", folder, "tmpfs", 0, options)
    except OSError as error:
        raise _NoMountsError(str(error)) from error


def _may(step: Callable[[], None]) -> bool:
    try:
        step()
    except OSError:
        return False
    return True


def _call(name: str, *arguments: object) -> None:
    """Call a function of the C library. OSError: it returns -1."""
    given = [os.fsencode(a) if isinstance(a, str | Path) else a for a in arguments]
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*given):
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


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
LOOKS = ("listdir", "scandir", "stat", "lstat", "readlink")


@contextlib.contextmanager
def faulty(
    folder: Path,
    at: int,
    strike: Callable[[str, str], object],
    *,
    reads: bool = False,
    only: str = "",
) -> Iterator[list[str]]:
    """Call `strike(step, path)` before the change number `at` below `folder`; count from 1.

    A change is a call of the system that writes: files opened for writing, and STEPS; with `reads`
    opening for reading, listing a folder and asking for a file's state count too; with `only`,
    nothing but what that pattern is found in. Yields the list of the changes so far, which an `at`
    of 0 makes a plain count.
    """
    seen: list[str] = []
    inside = os.fspath(folder)
    steps = (*STEPS, *LOOKS) if reads else STEPS
    originals = {name: getattr(os, name) for name in steps}
    plain_open = builtins.open

    def note(step: str, where: object) -> None:
        path = os.fspath(where) if isinstance(where, str | os.PathLike) else ""
        if (path and not str(path).startswith(inside)) or not re.search(only, f"{step} {path}"):
            return
        seen.append(f"{step} {path}")
        if len(seen) == at:
            strike(step, str(path))

    def wrapped(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            writes = (
                reads or name != "open" or arguments[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
            if writes:
                note(name, arguments[0])
            return originals[name](*arguments, **options)

        return call

    def opened(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if set(mode) & set("wxa+"):
            note("create", file)
        return plain_open(file, mode, *arguments, **options)

    with contextlib.ExitStack() as stack:
        for name in steps:
            stack.enter_context(mock.patch.object(os, name, wrapped(name)))
        stack.enter_context(mock.patch.object(builtins, "open", opened))
        yield seen


def refusing(code: int) -> Callable[[str, str], None]:
    """Return what refuses a change with an error of the system."""

    def strike(step: str, path: str) -> None:
        raise OSError(code, os.strerror(code), path)

    return strike


disk_full = refusing(errno.ENOSPC)


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


# -- a disk that folds names -----------------------------------------------------------------------
FOLDED = (
    "open", "stat", "lstat", "mkdir", "rmdir", "unlink", "remove", "rename", "replace", "link",
    "symlink", "readlink", "listdir", "scandir", "chmod", "chown", "utime", "truncate", "access",
    "statvfs",
)  # fmt: skip
_TWO_NAMES = {"rename", "replace", "link"}


@contextlib.contextmanager
def folding(folder: Path) -> Iterator[None]:
    """Let names below a folder be one where they differ in case or in composition alone, as on a
    Mac: a new name is stored decomposed, and every spelling of it is found."""
    originals = {name: getattr(os, name) for name in FOLDED}
    plain_open = builtins.open
    inside = f"{os.path.realpath(folder)}/"

    def key(name: str) -> str:
        return unicodedata.normalize("NFC", name).casefold()

    def stored(where: Any) -> Any:
        if not isinstance(where, str | os.PathLike) or isinstance(os.fspath(where), bytes):
            return where
        path = os.fspath(where)
        if not path.startswith(inside):
            return where
        found = inside.rstrip("/")
        for name in filter(None, path[len(inside) :].split("/")):
            names = {}
            with contextlib.suppress(OSError):
                names = {key(one): one for one in originals["listdir"](found)}
            found += "/" + names.get(key(name), unicodedata.normalize("NFD", name))
        return found

    def wrapped(name: str) -> Callable[..., Any]:
        def call(path: Any = ".", *arguments: Any, **options: Any) -> Any:
            first = path if name == "symlink" else stored(path)
            if arguments and name in {*_TWO_NAMES, "symlink"}:
                arguments = (stored(arguments[0]), *arguments[1:])
            return originals[name](first, *arguments, **options)

        return call

    def opened(file: Any, *arguments: Any, **options: Any) -> Any:
        return plain_open(stored(file), *arguments, **options)

    with contextlib.ExitStack() as stack:
        for name in FOLDED:
            stack.enter_context(mock.patch.object(os, name, wrapped(name)))
        stack.enter_context(mock.patch.object(builtins, "open", opened))
        stack.enter_context(mock.patch.object(io, "open", opened))
        yield
