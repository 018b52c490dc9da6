"""The only place that reads and writes files: whole or not at all, and never outside the data root.

Reads are of regular files alone, up to a size; a name that is there and cannot be read is an error,
never "absent". Writes are atomic, keep mode and owner of what they replace, and otherwise follow
the umask. What the system refuses becomes one StoreError with the path and a remedy (`guarded`).
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import DataRoot

#: The largest file that is read whole, in bytes.
SIZE_LIMIT: Final = 128 * 2**20

#: What a system says where two names cannot be one file: other file systems, FAT, network mounts.
NO_LINKS: Final = {
    *(errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK),
    *(errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS),
}
#: What reading says of a folder, a pipe or a huge file: a lasting fact, which other errors are not.
NO_FILE: Final = frozenset({errno.EISDIR, errno.ENXIO, errno.EFBIG})
#: The errors of a path through something that is not a folder, or through a link to itself.
_NO_WAY: Final = frozenset({errno.ENOTDIR, errno.ELOOP})
#: What renaming a folder says where something has its name already, or on another file system.
_TAKEN: Final = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EXDEV})

#: What the temporary file of a written file is called: its name, the process, 4 random bytes.
_TEMPORARY: Final = re.compile(r"\.(?P<name>.+)\.[0-9]+-[0-9a-f]{8}\.tmp")
_KEPT: Final = 200  # bytes of a file's name that its temporary file's has; a name has at most 255
_READING: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY  # a pipe is not awaited
_CREATING: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

_REMEDIES: Final = {
    errno.EACCES: "give this user the rights that are missing there",
    errno.EPERM: "give this user the rights that are missing there",
    errno.EROFS: "the file system is read-only: use a data root that can be written",
    errno.ENOSPC: "make room on the disk and run again: it goes on where it stopped",
    errno.EDQUOT: "make room in the quota and run again: it goes on where it stopped",
    errno.ENOLCK: "the file system gives no locks: mount it with them, or use a local disk",
    errno.ENOTDIR: "a file stands where a folder belongs: move it away",
    errno.EISDIR: "a folder stands where a file belongs: move it away",
    errno.EEXIST: "something else has that name: move it away, or use another name",
    errno.ENXIO: "put a regular file in its place",
    errno.EFBIG: "files of this kind are small: look at what it is, and move it away",
    errno.ENOLINK: "fetch what the link points to (mount the disk, get the content), or remove it",
    errno.ELOOP: "symbolic links lead in a circle there: remove one of them",
    errno.ENAMETOOLONG: "use a shorter name",
}
_OTHERWISE: Final = "look at the disk, then run again: it goes on where it stopped"


# -- refusals --------------------------------------------------------------------------------------
@contextlib.contextmanager
def guarded(root: DataRoot) -> Iterator[None]:
    """Turn what the system refuses inside the block (OSError) into one StoreError with its path
    and remedy."""
    try:
        yield
    except OSError as error:
        problems = [problem_of(root, error)]
        raise StoreError("the system refused a file operation", problems) from error


def problem_of(root: DataRoot, error: OSError) -> Problem:
    """Return what the system refused: the path, as it reads from the data root, and a remedy."""
    named = isinstance(error.filename, str | Path)
    path = Path(error.filename) if named else root.path
    inside = named and path.is_relative_to(root.path)
    return Problem(
        where=root.relative(path) if inside else str(path),
        message=error.strerror or type(error).__name__,
        remedy=remedy_of(error),
    )


def remedy_of(error: OSError) -> str:
    """Return what to do about a refusal of the system."""
    return _REMEDIES.get(error.errno or 0, _OTHERWISE)


def blame(error: OSError, path: str | Path, aside: str | Path) -> None:
    """Let an error about an open file, or about `aside`, what is made first, name `path`."""
    if error.filename is None or str(error.filename).startswith(str(aside)):
        error.filename, error.filename2 = str(path), None


def check_inside(root: DataRoot, *paths: Path) -> None:
    """Refuse paths that a symbolic link leads out of the data root; they need not exist.

    Raises:
        StoreError: lists every such path with where it leads.
    """
    home = os.path.realpath(root.path)
    leads = [(path, os.path.realpath(path)) for path in paths]
    problems = [
        Problem(
            where=root.relative(path),
            message=f"a symbolic link leads out of the data root, to {target}",
            remedy="move the folder into the data root, or bind-mount it there",
        )
        for path, target in leads
        if target != home and not target.startswith(f"{home.rstrip('/')}/")
    ]
    if problems:
        raise StoreError("nothing is written outside the data root", problems)


# -- reading ---------------------------------------------------------------------------------------
def is_there(path: str | Path) -> bool:
    """Say whether a name is taken, by whatever: also by a link whose target is not there, or below
    what is not a folder. Reading it then says why it cannot be read.

    OSError: the system does not say whether, which is not the same as no.
    """
    try:
        os.lstat(path)
    except FileNotFoundError:
        return _dangling(path) is not None
    except OSError as error:
        if error.errno not in _NO_WAY:
            raise
    return True


def exists(path: str | Path) -> bool:
    """Say whether something has this name; a link that leads nowhere counts. OSError as for
    `is_there`."""
    return _mode(path, follow=False) is not None


def is_file(path: str | Path) -> bool:
    """Say whether a regular file, or a link to one, has a name. OSError as for `is_there`."""
    return stat.S_ISREG(_mode(path) or 0)


def is_folder(path: str | Path) -> bool:
    """Say whether a folder, or a link to one, has a name. OSError as for `is_there`."""
    return stat.S_ISDIR(_mode(path) or 0)


def is_link(path: str | Path) -> bool:
    """Say whether a symbolic link has a name. OSError as for `is_there`."""
    return stat.S_ISLNK(_mode(path, follow=False) or 0)


def _mode(path: str | Path, *, follow: bool = True) -> int | None:
    try:
        return os.stat(path, follow_symlinks=follow).st_mode
    except OSError as error:
        if error.errno != errno.ENOENT and error.errno not in _NO_WAY:
            raise
        return None


def listed(folder: Path, suffix: str = "") -> list[Path]:
    """Return what a folder holds under names that end so, sorted; nothing where there is no folder.

    OSError: it cannot be listed, which is not the same as empty (`Path.glob` takes it for that).
    """
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / name for name in sorted(names) if name.endswith(suffix)]


def read_bytes(path: str | Path, *, limit: int = SIZE_LIMIT) -> bytes:
    """Return a regular file's bytes, at once.

    Raises:
        FileNotFoundError: nothing has the name.
        OSError: EISDIR for a folder, ENXIO for a pipe, socket or device, ENOLINK for a symbolic
            link whose target is not there, EFBIG above `limit` bytes, or what the system says.
    """
    return read_with_status(path, limit=limit)[0]


def read_with_status(path: str | Path, *, limit: int = SIZE_LIMIT) -> tuple[bytes, os.stat_result]:
    """Return a regular file's bytes and the status under which they were read.

    Raises as `read_bytes` does.
    """
    descriptor = _open_regular(path)
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise _not_regular(path, state.st_mode)
        data = read_open(descriptor, state.st_size, limit) if state.st_size <= limit else b""
        if max(state.st_size, len(data)) > limit:
            raise OSError(errno.EFBIG, f"larger than {limit} bytes", os.fspath(path))
        return data, state
    finally:
        os.close(descriptor)


def _open_regular(path: str | Path) -> int:
    try:
        return os.open(path, _READING)
    except FileNotFoundError:
        link = _dangling(path)
        if link is None:
            raise
        message = "a symbolic link whose target is not there"
        raise OSError(errno.ENOLINK, message, link) from None
    except OSError as error:
        if error.errno != errno.ENXIO:  # what opening a socket says
            raise
        raise _not_regular(path, stat.S_IFSOCK) from error


def read_open(descriptor: int, size: int, limit: int) -> bytes:
    """Return what an open file of `size` bytes holds; where it changes, or its system gives it in
    pieces, up to its end or a byte more than `limit`."""
    data = os.read(descriptor, size + 1)  # one more shows the end
    if len(data) == size:
        return data
    pieces, size = [data], len(data)
    while size <= limit and (piece := os.read(descriptor, min(1 << 20, limit + 1 - size))):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


def _not_regular(path: str | Path, mode: int) -> OSError:
    if stat.S_ISDIR(mode):
        return OSError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    return OSError(errno.ENXIO, "not a regular file", os.fspath(path))


def _dangling(path: str | Path) -> str | None:
    """Return the link, at `path` or above it, whose missing target makes `path` unreachable."""
    place = os.fspath(path)
    if os.path.isdir(os.path.dirname(place)):  # as nearly always
        return place if is_dangling(place) else None
    place = os.path.abspath(place)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    return place if is_dangling(place) else None


def is_dangling(path: str | Path) -> bool:
    """Say whether a link leads to nothing, or to what the system does not let us see."""
    return os.path.islink(path) and not os.path.exists(path)


# -- writing ---------------------------------------------------------------------------------------
def write_atomic(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Make `path` hold `data`, wholly or not at all; its folder is made if absent.

    A file that is replaced leaves its mode and, where the system lets it, its owner to the new one.
    With `durable` the bytes are on disk before the name is (fsync of file and folder): a power cut
    leaves the old file or the new one. The temporary file lies beside `path` and begins with `.`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    like = None
    with contextlib.suppress(OSError):
        like = os.stat(path)
    with _temporary_beside(path) as temporary:
        write_new(temporary, data, durable=durable, like=like)
        os.replace(temporary, path)
    if durable:
        sync_folder(path.parent)


def write_new(
    path: str | Path, data: bytes, *, durable: bool = False, like: os.stat_result | None = None
) -> None:
    """Create a file that is not there, with mode and owner of `like` if given.

    FileExistsError: it is there. Where writing fails nothing is left.
    """
    descriptor = os.open(path, _CREATING, 0o666)
    try:
        if like is not None:
            take_after(descriptor, like)
        write_all(descriptor, data)
        if durable:
            os.fsync(descriptor)
    except OSError as error:
        blame(error, path, path)
        os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, in as many pieces as the system takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def reserve(path: str | Path, size: int) -> None:
    """Create a file that takes `size` bytes of the disk. OSError: there is no such room."""
    with open(os.open(path, _CREATING, 0o666), "wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.write(bytes(size))


def write_lines(path: str | Path, lines: Iterable[bytes]) -> None:
    """Create a file that is not there from its lines as they come, on disk on return.

    FileExistsError: it is there. Where it fails a part of the file is left.
    """
    with open(os.open(path, _CREATING, 0o666), "wb") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())


def create_exclusive(path: Path, data: bytes, *, durable: bool = False) -> bool:
    """Create `path` with `data` unless it exists; return whether this call created it.

    Never overwrites, also where two processes create the same path at once (link, not rename).
    On a file system without hard links the file is created with O_EXCL instead, which a crash can
    leave short: such a file is reported by the audit as malformed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _temporary_beside(path) as temporary:
        write_new(temporary, data, durable=durable)
        return _named(temporary, path, data)


def _named(aside: str | Path, path: str | Path, data: bytes) -> bool:
    """Give the file at `aside`, which holds `data`, the name `path`, unless something has it."""
    try:
        try:
            os.link(aside, path)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            write_new(path, data)
    except FileExistsError:
        return False
    return True


def create_in_folder(aside: str, target: str, name: str, data: bytes) -> None:
    """Make the folder `target` appear with its file `name` in it: made at `aside`, then renamed.

    Where the folder is there already the file is put into it, unless it has one of that name.
    """
    try:
        os.mkdir(aside)
        write_new(f"{aside}/{name}", data)
    except OSError as error:
        blame(error, target, aside)
        raise
    try:
        os.rename(aside, target)
    except OSError as error:
        if error.errno not in _TAKEN:
            raise
        if error.errno == errno.EXDEV:
            os.makedirs(target, exist_ok=True)
        _named(f"{aside}/{name}", f"{target}/{name}", data)
        shutil.rmtree(aside)


def keep(path: Path, kept: Path) -> None:
    """Give a file a second name, or a copy on disk where it cannot have one."""
    try:
        os.link(path, kept)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        _copy(path, kept)


def move(source: Path, target: Path) -> None:
    """Rename a file; across a mount it is copied, brought to disk and compared before it goes.

    Whatever was at `target` is replaced. A crash leaves the file at one of the two at least.
    """
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(source, target)
        os.unlink(source)


def _copy(source: Path, target: Path) -> None:
    """Copy a file with its mode and times; complete, on disk and compared, or not there at all."""
    with _temporary_beside(target) as temporary:
        with open(source, "rb") as reading, open(temporary, "xb") as writing:
            shutil.copyfileobj(reading, writing, 1 << 20)
            take_after(writing.fileno(), os.fstat(reading.fileno()))
            writing.flush()
            os.fsync(writing.fileno())
        if not filecmp.cmp(source, temporary, shallow=False):
            raise OSError(errno.EIO, "the copy differs from what was copied", os.fspath(target))
        with contextlib.suppress(OSError):  # times are not essential
            shutil.copystat(source, temporary)
        os.replace(temporary, target)
    sync_folder(target.parent)


def sync_folder(path: str | Path) -> None:
    """Bring a folder's entries to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def take_after(descriptor: int, like: os.stat_result) -> None:
    """Give an open file the mode and, where the system lets us, the owner and group of another."""
    made = os.fstat(descriptor)
    if made.st_gid != like.st_gid:
        with contextlib.suppress(OSError):  # any of the user's own groups
            os.fchown(descriptor, -1, like.st_gid)
    if made.st_uid != like.st_uid:
        with contextlib.suppress(OSError):  # only root may give a file away, and not everywhere
            os.fchown(descriptor, like.st_uid, -1)
    if stat.S_IMODE(made.st_mode) != stat.S_IMODE(like.st_mode):
        with contextlib.suppress(PermissionError):  # some mounts have one mode for everything
            os.fchmod(descriptor, stat.S_IMODE(like.st_mode))


# -- what is written aside -------------------------------------------------------------------------
@contextlib.contextmanager
def staging(root: DataRoot, prefix: str) -> Iterator[str]:
    """Yield a fresh folder on the data root's file system, gone afterwards."""
    folder = root.temporary / f"{prefix}{os.getpid()}-{os.urandom(4).hex()}"
    folder.mkdir(parents=True)
    try:
        yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_staging(root: DataRoot, prefix: str) -> None:
    """Remove what killed processes left of `staging`; the caller's lock says that none lives."""
    for leftover in root.temporary.glob(f"{prefix}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def sweep_temporaries(root: DataRoot, paths: Iterable[Path]) -> None:
    """Remove the temporary files that killed writers of these paths left beside them; for whoever
    knows, by a lock, that no writer of them is alive. A folder that a symbolic link leads out of
    the data root is looked past."""
    names: dict[Path, set[str]] = {}
    for path in paths:
        names.setdefault(path.parent, set()).add(_shortened(path.name))
    for folder, wanted in names.items():
        if not folder.is_dir() or not folder.resolve().is_relative_to(root.path.resolve()):
            continue
        for name in os.listdir(folder):
            found = _TEMPORARY.fullmatch(name)
            if found is not None and found["name"] in wanted:
                (folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    """Yield the name of a temporary file; what has it afterwards is removed. What the system
    refuses about it, it refuses about `path`: that is what its error names."""
    name = f".{_shortened(path.name)}.{os.getpid()}-{os.urandom(4).hex()}.tmp"
    temporary = path.with_name(name)
    try:
        yield temporary
    except OSError as error:
        blame(error, path, temporary)
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _shortened(name: str) -> str:
    return os.fsencode(name)[:_KEPT].decode(errors="ignore")
