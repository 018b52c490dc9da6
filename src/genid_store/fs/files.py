"""Read, write and move the files of a data root.

Only regular files are read, up to a size limit; a file that exists but cannot be read is an error,
never "absent". Writes are atomic, preserve the mode and owner of the file that they replace, and
otherwise follow the umask. `guarded` turns an OSError into a StoreError with the path and a remedy.
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

#: The errors of `link` where there are no hard links: between file systems, on FAT, on some mounts.
NO_LINKS: Final = {
    *(errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK),
    *(errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS),
}
#: The errors of reading a folder, a pipe or a huge file. Unlike others, they last until a change.
NO_FILE: Final = frozenset({errno.EISDIR, errno.ENXIO, errno.EFBIG})
#: The errors of a path through something that is not a folder, or through a link to itself.
_NO_WAY: Final = frozenset({errno.ENOTDIR, errno.ELOOP})
#: The errors of renaming a folder to a name that is taken, or to another file system.
_TAKEN: Final = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EXDEV})

#: The name of a temporary file: the target's name, the process id, 4 random bytes.
_TEMPORARY: Final = re.compile(r"\.(?P<name>.+)\.[0-9]+-[0-9a-f]{8}\.tmp")
_KEPT: Final = 200  # bytes of the target's name in a temporary file's, which has 255 at most
# Without O_NONBLOCK, opening a pipe waits for its writer; without O_NOCTTY, opening a terminal can
# make it the controlling one. Neither flag changes how a regular file is read.
_READING: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_CREATING: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

_REMEDIES: Final = {
    errno.ENOENT: "check that the path is right and its disk is mounted, then run again",
    errno.EACCES: "give this user the missing permissions on it",
    errno.EPERM: "give this user the missing permissions on it",
    errno.EROFS: "the file system is read-only: use a data root on a writable one",
    errno.ENOSPC: "free space on the disk, then run again",
    errno.EDQUOT: "free space in the quota, then run again",
    errno.EMFILE: "close the files that the callable opens, or raise the limit (ulimit -n)",
    errno.ENFILE: "end the processes that keep them open, or raise the limit (fs.file-max)",
    errno.ENOLCK: "the file system does not support locks: mount it with them, or use a local disk",
    errno.ENOTDIR: "a file is in the place of a folder: move it away",
    errno.EISDIR: "a folder is in the place of a file: move it away",
    errno.EEXIST: "something else has that name: move it away, or use another name",
    errno.ENXIO: "replace it by a regular file",
    errno.EFBIG: "replace what is too large to read; to write, raise the limit (ulimit -f)",
    errno.ENOLINK: "restore its target (mount the disk, fetch the content), or remove the link",
    errno.ELOOP: "symbolic links there form a circle: remove one of them",
    errno.ENAMETOOLONG: "use a shorter name",
}
_OTHERWISE: Final = "check the disk, then run again"


# -- errors ----------------------------------------------------------------------------------------
@contextlib.contextmanager
def guarded(root: DataRoot) -> Iterator[None]:
    """Turn an OSError raised in the block into a StoreError with its path and a remedy."""
    try:
        yield
    except OSError as error:
        raise StoreError("a file operation failed", [problem_of(root, error)]) from error


def problem_of(root: DataRoot, error: OSError) -> Problem:
    """Return an OSError as a problem with its path, relative to the data root, and a remedy."""
    named = isinstance(error.filename, str | Path)
    path = Path(error.filename) if named else root.path
    inside = named and root.path in path.parents
    return Problem(
        where=root.relative(path) if inside else str(path),
        message=error.strerror or type(error).__name__,
        remedy=remedy_of(error),
    )


def remedy_of(error: OSError) -> str:
    """Return what the user can do about an OSError."""
    return _REMEDIES.get(error.errno or 0, _OTHERWISE)


def blame(error: OSError, path: str | Path, aside: str | Path) -> None:
    """Make an error about an open file, or about the temporary `aside`, name its target `path`."""
    if error.filename is None or str(error.filename).startswith(str(aside)):
        error.filename, error.filename2 = str(path), None


def check_inside(root: DataRoot, *paths: Path) -> None:
    """Check that no symbolic link leads a path out of the data root; paths need not exist.

    StoreError: lists every path that leaves the data root, and its target.
    """
    home = os.path.realpath(root.path)
    targets = [(path, os.path.realpath(path)) for path in paths]
    problems = [
        Problem(
            where=root.relative(path),
            message=f"a symbolic link leads out of the data root, to {target}",
            remedy="move the folder into the data root, or bind-mount it there",
        )
        for path, target in targets
        if target != home and not target.startswith(f"{home.rstrip('/')}/")
    ]
    if problems:
        raise StoreError("nothing is written outside the data root", problems)


# -- reading ---------------------------------------------------------------------------------------
def is_there(path: str | Path) -> bool:
    """Return whether a path leads to anything, even if it cannot be read.

    A path is there if it is or passes through a dangling link, or passes through something that is
    not a folder. Reading it raises the reason, while an absent path raises FileNotFoundError.

    OSError: it cannot be told, which is not the same as no.
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
    """Return whether an entry has this name, even a dangling link. OSError: as `is_there`."""
    return _mode(path, follow=False) is not None


def is_file(path: str | Path) -> bool:
    """Return whether a path is a regular file or a link to one. OSError: as `is_there`."""
    return stat.S_ISREG(_mode(path) or 0)


def is_folder(path: str | Path) -> bool:
    """Return whether a path is a folder or a link to one. OSError: as `is_there`."""
    return stat.S_ISDIR(_mode(path) or 0)


def is_link(path: str | Path) -> bool:
    """Return whether a path is a symbolic link. OSError: as `is_there`."""
    return stat.S_ISLNK(_mode(path, follow=False) or 0)


def _mode(path: str | Path, *, follow: bool = True) -> int | None:
    """Return the mode of an entry, or None if there is none. OSError: as `is_there`."""
    # `os.path.isfile` and its like return False for every OSError. A mount that is lost or a
    # folder without permission would then look like an empty store, and be paid for again.
    try:
        return os.stat(path, follow_symlinks=follow).st_mode
    except OSError as error:
        if error.errno != errno.ENOENT and error.errno not in _NO_WAY:
            raise
        return None


def listed(folder: Path, suffix: str = "") -> list[Path]:
    """Return the paths in a folder whose names end with `suffix`, sorted; none if it is absent.

    OSError: the folder cannot be listed, which `Path.glob` would take for empty.
    """
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / name for name in sorted(names) if name.endswith(suffix)]


def read_bytes(path: str | Path, *, limit: int = SIZE_LIMIT) -> bytes:
    """Return the bytes of a regular file, without waiting for anything.

    Raises:
        FileNotFoundError: the path does not exist.
        OSError: EISDIR for a folder, ENXIO for a pipe, socket or device, ENOLINK for a dangling
            symbolic link, EFBIG above `limit` bytes, or another error of the system.
    """
    return read_with_status(path, limit=limit)[0]


def read_with_status(path: str | Path, *, limit: int = SIZE_LIMIT) -> tuple[bytes, os.stat_result]:
    """Return the bytes of a regular file and its status when they were read.

    OSError: as `read_bytes`.
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
        if error.errno != errno.ENXIO:  # the error of opening a socket
            raise
        raise _not_regular(path, stat.S_IFSOCK) from error


def read_open(descriptor: int, size: int, limit: int) -> bytes:
    """Return the content of an open file of `size` bytes; stop one byte after `limit`."""
    data = os.read(descriptor, size + 1)  # one more byte shows that the file ends there
    if len(data) == size:
        return data
    # The file changed since its size was read, or its file system returns less than was requested.
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
    """Return the dangling link, `path` or above it, that makes `path` unreachable, or None."""
    place = os.fspath(path)
    if not os.path.isdir(os.path.dirname(place)):
        place = os.path.abspath(place)
        while not os.path.lexists(place):
            place = os.path.dirname(place)
    return place if is_dangling(place) else None


def is_dangling(path: str | Path) -> bool:
    """Return whether a path is a link whose target does not exist or cannot be seen."""
    return os.path.islink(path) and not os.path.exists(path)


# -- writing ---------------------------------------------------------------------------------------
def write_atomic(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace the content of `path` by `data` atomically; create the file and its folder if absent.

    A file that is replaced passes on its mode and, if permitted, its owner. With `durable`, even a
    power cut leaves either the old file or the new one, and the new one once this returns.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    like = None
    with contextlib.suppress(OSError):
        like = os.stat(path)
    # The temporary file is on the same file system, where a rename is atomic. Its bytes are synced
    # before the rename: else a power cut could leave the new name with an empty file.
    with _temporary_beside(path) as temporary:
        write_new(temporary, data, durable=durable, like=like)
        os.replace(temporary, path)
    # The rename itself is on disk only once the folder is.
    if durable:
        sync_folder(path.parent)


def write_new(
    path: str | Path, data: bytes, *, durable: bool = False, like: os.stat_result | None = None
) -> None:
    """Create a file with `data`, and with the mode and owner of `like` if given.

    FileExistsError: it exists. A file that cannot be written completely is removed.
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
    """Write all of `data`, which the system may take in several pieces."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def reserve(path: str | Path, size: int) -> None:
    """Create a file that occupies `size` bytes on the disk. OSError: there is no space for it."""
    with open(os.open(path, _CREATING, 0o666), "wb") as file:
        if hasattr(os, "posix_fallocate"):  # not on macOS
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.write(bytes(size))


def write_lines(path: str | Path, lines: Iterable[bytes]) -> None:
    """Create a file from lines as they are produced, and sync it.

    FileExistsError: it exists. After any other error a part of the file remains.
    """
    with open(os.open(path, _CREATING, 0o666), "wb") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())


def create_exclusive(path: Path, data: bytes) -> bool:
    """Create `path` durably with `data` unless it exists; return whether this call created it.

    Of several processes that create the same path, exactly one does. Where hard links are not
    supported, a crash can leave an incomplete file, which the audit reports as malformed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _temporary_beside(path) as temporary:
        write_new(temporary, data, durable=True)
        return _named(temporary, path, data, durable=True)


def _named(aside: str | Path, path: str | Path, data: bytes, *, durable: bool = False) -> bool:
    """Give the file `aside`, which holds `data`, the name `path`; return False if that exists."""
    # A rename would silently replace a file that another process created in the meantime. `link`
    # fails if the name exists, and the name it gives always has the whole content.
    try:
        if not try_link(aside, path):
            write_new(path, data, durable=durable)
    except FileExistsError:
        return False
    return True


def try_link(path: str | Path, name: str | Path) -> bool:
    """Give a file or link a second name; return False if the file system cannot.

    OSError: it failed for another reason, such as FileExistsError.
    """
    try:
        os.link(path, name, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return False
    return True


def create_in_folder(aside: str, target: str, name: str, data: bytes) -> None:
    """Create the folder `target` with the file `name` in it, atomically, by renaming `aside`.

    If the folder exists, create the file in it, unless it has a file of that name.
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
        if error.errno == errno.EXDEV:  # `gens/` is a mount of its own
            os.makedirs(target, exist_ok=True)
        _named(f"{aside}/{name}", f"{target}/{name}", data)
        shutil.rmtree(aside)


def keep(path: Path, kept: Path) -> None:
    """Give a file a second name, or copy it where hard links are not supported."""
    if not try_link(path, kept):
        _copy(path, kept)


def move(source: Path, target: Path) -> None:
    """Rename a file, replacing what is at `target`; copy it to another file system.

    A crash leaves the file under at least one of the two names.
    """
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(source, target)
        os.unlink(source)


def _copy(source: Path, target: Path) -> None:
    """Copy a file with its mode and times, atomically and durably."""
    with _temporary_beside(target) as temporary:
        with open(source, "rb") as reading, open(temporary, "xb") as writing:
            shutil.copyfileobj(reading, writing, 1 << 20)
            take_after(writing.fileno(), os.fstat(reading.fileno()))
            writing.flush()
            os.fsync(writing.fileno())
        # The original may be the only copy of a paid text, and `move` removes it next.
        if not filecmp.cmp(source, temporary, shallow=False):
            raise OSError(errno.EIO, "the copy differs from the original", os.fspath(target))
        with contextlib.suppress(OSError):  # times are not essential
            shutil.copystat(source, temporary)
        os.replace(temporary, target)
    sync_folder(target.parent)


def sync_folder(path: str | Path) -> None:
    """Sync a folder, so that names created, renamed or removed in it survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def take_after(descriptor: int, like: os.stat_result) -> None:
    """Give an open file the mode and, if permitted, the owner and group of another one."""
    status = os.fstat(descriptor)
    if status.st_gid != like.st_gid:
        with contextlib.suppress(OSError):  # permitted for the user's own groups
            os.fchown(descriptor, -1, like.st_gid)
    if status.st_uid != like.st_uid:
        with contextlib.suppress(OSError):  # permitted for root, and not on every file system
            os.fchown(descriptor, like.st_uid, -1)
    if stat.S_IMODE(status.st_mode) != stat.S_IMODE(like.st_mode):
        with contextlib.suppress(PermissionError):  # some mounts give every file the same mode
            os.fchmod(descriptor, stat.S_IMODE(like.st_mode))


# -- temporary files -------------------------------------------------------------------------------
@contextlib.contextmanager
def staging(root: DataRoot, prefix: str) -> Iterator[str]:
    """Yield a new folder on the data root's file system, and remove it afterwards."""
    folder = root.temporary / f"{prefix}{os.getpid()}-{os.urandom(4).hex()}"
    folder.mkdir(parents=True)
    try:
        yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_staging(root: DataRoot, prefix: str) -> None:
    """Remove the `staging` folders of killed processes; the caller's lock excludes live ones."""
    for leftover in root.temporary.glob(f"{prefix}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def sweep_temporaries(root: DataRoot, paths: Iterable[Path]) -> None:
    """Remove the temporary files that killed writers of these paths left beside them.

    The caller holds a lock that excludes other writers. Folders outside the data root are skipped.
    """
    names: dict[Path, set[str]] = {}
    for path in paths:
        names.setdefault(path.parent, set()).add(_shortened(path.name))
    for folder, targets in names.items():
        if not folder.is_dir() or not folder.resolve().is_relative_to(root.path.resolve()):
            continue
        for name in os.listdir(folder):
            temporary = _TEMPORARY.fullmatch(name)
            if temporary is not None and temporary["name"] in targets:
                (folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    """Yield a name for a temporary file of `path` and remove the file afterwards.

    An OSError about the temporary file names `path`, which is what the caller knows.
    """
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
