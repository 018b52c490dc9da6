"""The paths of everything in a data root.

A name that is not a safe path segment is refused, so that no id and no cohort id can lead a write
out of the data root. The pipeline reads nothing in `.genid/`, where genid keeps its own files.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

from attrs import Factory, field, frozen

from genid_store.errors import StoreError

#: A path segment that is safe on every file system (SPEC 7.5).
SEGMENT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")

#: The longest name of a file or folder, in bytes.
LONGEST_NAME: Final = 255
#: The longest id of a member: temporary files have longer names (`.<id>.<pid>-<random>`).
LONGEST_ID: Final = 230

METADATA: Final = "metadata.json"
PROMPT: Final = "prompt.txt"
RAW: Final = "raw.txt"
PARSED: Final = "parsed.txt"
RAW_METADATA: Final = "raw_metadata.json"
PARSED_METADATA: Final = "parsed_metadata.json"


def is_segment(name: object) -> bool:
    """Return whether `name` is a text of 1 to 255 of `A-Z a-z 0-9 . _ -` that does not begin with
    `.` or `-`, so that it can name a folder."""
    return isinstance(name, str) and SEGMENT.fullmatch(name) is not None


def check_segment(name: str, *, what: str, where: str) -> str:
    """Return `name`. StoreError: it is not a safe path segment."""
    if is_segment(name):
        return name
    summary, message = f"{what} cannot be a folder's name", f"{what} is not a safe path segment"
    remedy = "use 1 to 255 of A-Z a-z 0-9 . _ - and begin with a letter, a digit or _"
    raise StoreError.of(summary, where, message, remedy, value=name)


def _below(*names: str) -> Any:
    """Return the attrs field of a path below the data root."""
    default = Factory(lambda root: root.path.joinpath(*names), takes_self=True)
    return field(init=False, repr=False, eq=False, default=default)


@frozen
class DataRoot:
    """The paths of one data root. Only `open` and `check` access the disk.

    `own` holds genid's own files; everything else is the pipeline's.
    """

    path: Path = field(converter=Path)
    raw: Path = _below("1_raw")
    tasks: Path = _below("2_tasks")
    combo_mappings: Path = _below("combo_mappings.csv")
    cohorts: Path = _below("cohorts")
    gens: Path = _below("gens")
    own: Path = _below(".genid")
    temporary: Path = _below(".genid", "tmp")
    lock_note: Path = _below(".genid", "lock-holder.json")
    barrier: Path = _below(".genid", "blocked.json")

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> DataRoot:
        """Return the data root at `path`. StoreError: it does not exist or is not a folder."""
        root = Path(path)
        if root.is_dir():
            return cls(root.resolve())
        message = "is not a folder" if root.exists() else "does not exist"
        remedy = "give the pipeline's data folder"
        raise StoreError.of(f"no data root at {root}", str(root), message, remedy)

    def check(self) -> DataRoot:
        """Return this data root. StoreError: its folder has none of a data root's entries."""
        markers = (self.gens, self.cohorts, self.raw, self.path / "genid.toml")
        if any(os.path.lexists(path) for path in markers):
            return self
        summary, where, ways = "this is not a data root", str(self.path), ("data_root=DIR",)
        message = "has neither gens/, cohorts/, 1_raw/ nor genid.toml"
        remedy = "give the pipeline's data folder, or a new one that init makes"
        raise StoreError.of(summary, where, message, remedy, ways=ways)

    def cohort(self, cohort_id: str) -> Path:
        return self.cohorts / check_segment(cohort_id, what="the cohort id", where="cohort_id")

    def membership(self, cohort_id: str) -> Path:
        return self.cohort(cohort_id) / "membership.csv"

    def manifest(self, cohort_id: str) -> Path:
        return self.cohort(cohort_id) / "manifest.json"

    def stage(self, stage: str) -> Path:
        return self.gens / stage

    def generation(self, stage: str, gen_id: str) -> Path:
        name = check_segment(gen_id, what="the generation id", where=stage)
        return self.gens.joinpath(stage, name)

    def template(self, stage: str, template_id: str) -> Path:
        """Return the path of a template's text. StoreError: a file cannot have that name."""
        name = f"{template_id}.txt"
        if "/" in name or "\0" in name or len(os.fsencode(name)) > LONGEST_NAME:
            summary, where = "the template has no file", f"{stage} template"
            message = "cannot be the name of the template's file"
            remedy = "give it a shorter id, without /"
            raise StoreError.of(summary, where, message, remedy, value=template_id)
        return self.path / "templates" / stage / name

    def relative(self, path: Path) -> str:
        """Return `path` relative to the data root, with `/`, for messages and records."""
        return path.relative_to(self.path).as_posix()
