"""Where everything of a data root lies, and the atomic steps by which it is written.

Refuses any name that is no safe path segment, so that no id and no cohort id can lead a write
out of the data root. Everything of ours that the pipeline does not read lies in `.genid/`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from attrs import field, frozen

from genid_store.errors import Problem, StoreError

#: A path segment that is safe on every file system (ID families, "foreign").
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")

#: What the temporary file of a written file is called: its name, the process, 4 random bytes.
_TEMPORARY: Final = re.compile(r"\.(?P<name>.+)\.[0-9]+-[0-9a-f]{8}\.tmp")

#: What a file system says that cannot link (FAT, some network mounts).
_NO_LINKS: Final = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}

_KEPT: Final = 200  # characters of a file's name that its temporary file's has

METADATA: Final = "metadata.json"
PROMPT: Final = "prompt.txt"
RAW: Final = "raw.txt"
PARSED: Final = "parsed.txt"
RAW_METADATA: Final = "raw_metadata.json"
PARSED_METADATA: Final = "parsed_metadata.json"


def is_segment(name: object) -> bool:
    """Say whether `name` is a text that can be one folder's name: 1 to 255 of `A-Z a-z 0-9 . _ -`,
    beginning with neither `.` nor `-`."""
    return isinstance(name, str) and _SEGMENT.fullmatch(name) is not None


def check_segment(name: str, *, what: str, where: str) -> str:
    """Return `name`, or raise StoreError: it is no safe path segment."""
    if is_segment(name):
        return name
    raise StoreError(
        f"{what} cannot be a folder's name",
        [
            Problem(
                where=where,
                message=f"{what} is no safe path segment",
                value=name,
                remedy="use 1 to 255 of A-Z a-z 0-9 . _ - and begin with a letter, a digit or _",
            )
        ],
    )


@frozen
class DataRoot:
    """The paths of one data root. Building a path touches no disk; `open` checks that it is."""

    path: Path = field(converter=Path)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> DataRoot:
        """Return the data root at `path`. StoreError: it is missing or no folder."""
        root = Path(path)
        if root.is_dir():
            return cls(root.resolve())
        state = "is not a folder" if root.exists() else "does not exist"
        raise StoreError(
            f"no data root at {root}",
            [
                Problem(
                    where=str(root),
                    message=state,
                    remedy="give --data-root the pipeline's data folder",
                )
            ],
        )

    # -- the pipeline's own ---------------------------------------------------------------------
    @property
    def raw(self) -> Path:
        return self.path / "1_raw"

    @property
    def tasks(self) -> Path:
        return self.path / "2_tasks"

    @property
    def combo_mappings(self) -> Path:
        return self.path / "combo_mappings.csv"

    @property
    def cohorts(self) -> Path:
        return self.path / "cohorts"

    @property
    def gens(self) -> Path:
        return self.path / "gens"

    def cohort(self, cohort_id: str) -> Path:
        return self.cohorts / check_segment(cohort_id, what="the cohort id", where="cohort_id")

    def membership(self, cohort_id: str) -> Path:
        return self.cohort(cohort_id) / "membership.csv"

    def manifest(self, cohort_id: str) -> Path:
        return self.cohort(cohort_id) / "manifest.json"

    def stage(self, stage: str) -> Path:
        return self.gens / stage

    def generation(self, stage: str, gen_id: str) -> Path:
        return self.stage(stage) / check_segment(gen_id, what="the generation id", where=stage)

    def template(self, stage: str, template_id: str) -> Path:
        segment = check_segment(template_id, what="the template id", where=f"{stage} template")
        return self.path / "templates" / stage / f"{segment}.txt"

    def relative(self, path: Path) -> str:
        """Return `path` as it reads from the data root, with `/`, for messages and records."""
        return path.relative_to(self.path).as_posix()

    # -- ours -----------------------------------------------------------------------------------
    @property
    def own(self) -> Path:
        return self.path / ".genid"

    @property
    def temporary(self) -> Path:
        return self.own / "tmp"


def write_atomic(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Make `path` hold `data`, wholly or not at all; its folder is made if absent.

    With `durable` the bytes are on disk before the name is (fsync of file and folder): a power cut
    leaves the old file or the new one. The temporary file lies beside `path` and begins with `.`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _temporary_beside(path, data, durable=durable) as temporary:
        os.replace(temporary, path)
    if durable:
        sync_folder(path.parent)


def sweep_temporaries(root: DataRoot, paths: Iterable[Path]) -> None:
    """Remove the temporary files that killed writers of these paths left beside them; for whoever
    knows, by a lock, that no writer of them is alive. A folder that a symbolic link leads out of
    the data root is looked past."""
    names: dict[Path, set[str]] = {}
    for path in paths:
        names.setdefault(path.parent, set()).add(path.name[:_KEPT])
    for folder, wanted in names.items():
        if not folder.is_dir() or not folder.resolve().is_relative_to(root.path.resolve()):
            continue
        for name in os.listdir(folder):
            found = _TEMPORARY.fullmatch(name)
            if found is not None and found["name"] in wanted:
                (folder / name).unlink(missing_ok=True)


def create_exclusive(path: Path, data: bytes, *, durable: bool = False) -> bool:
    """Create `path` with `data` unless it exists; return whether this call created it.

    Never overwrites, also where two processes create the same path at once (link, not rename).
    On a file system without hard links the file is created with O_EXCL instead, which a crash can
    leave short: such a file is reported by the audit as malformed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _temporary_beside(path, data, durable=durable) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _create_without_links(path, data)
    return True


def read_at_once(path: str | Path) -> bytes:
    """Return a file's bytes. A pipe in its place gives none, rather than being waited for.
    OSError: it cannot be read."""
    with open(path, "rb", opener=_without_waiting) as file:
        return file.read() or b""


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # files know no O_NONBLOCK


def sync_folder(path: Path) -> None:
    """Bring a folder's entries to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create_without_links(path: Path, data: bytes) -> bool:
    try:
        with open(path, "xb") as file:
            file.write(data)
    except FileExistsError:
        return False
    return True


@contextlib.contextmanager
def _temporary_beside(path: Path, data: bytes, *, durable: bool) -> Iterator[Path]:
    temporary = path.with_name(f".{path.name[:_KEPT]}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
