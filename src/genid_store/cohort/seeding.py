"""Write the metadata of new members, and keep memberships that a rebuild replaces.

A folder and its metadata.json appear together, and existing metadata is never rewritten here. The
caller holds the data root's lock, and replaces the membership after all metadata exists, so that it
never names a generation without metadata.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from json.encoder import encode_basestring
from operator import itemgetter
from pathlib import Path
from typing import Final

from genid_store.catalog.index.refresh import Progress
from genid_store.catalog.memberships import kept_memberships
from genid_store.cohort.planning.records import Row
from genid_store.errors import Problem, StoreError
from genid_store.fs.files import (
    check_inside,
    create_in_folder,
    is_folder,
    is_there,
    listed,
    staging,
    sweep_staging,
    sweep_temporaries,
    write_atomic,
)
from genid_store.fs.layout import METADATA, DataRoot
from genid_store.stages import Member

# The key order of the existing pipeline, which differs for evaluations.
_CREATED: Final = (
    "stage", "gen_id", "origin_cohort_id", "mode", "template_id", "combo_id", "parent_gen_id",
    "llm_model_id", "replicate",
)  # fmt: skip
_EVALUATED: Final = (
    "stage", "gen_id", "template_id", "llm_model_id", "parent_gen_id", "combo_id",
    "origin_cohort_id", "mode", "replicate",
)  # fmt: skip
#: The keys of a metadata.json in file order, by stage.
METADATA_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "draft": tuple(key for key in _CREATED if key != "parent_gen_id"),
    "essay": _CREATED,
    "evaluation": _EVALUATED,
}
#: By stage, the format string of a metadata.json, and the function that picks the values of a row
#: for it, without the replicate, which comes last.
_FORMS: Final = {
    stage: (
        "{\n" + "".join(f'  "{key}": %s,\n' for key in keys[:-1]) + '  "replicate": %d\n}',
        itemgetter(*(Row._fields.index(key) for key in keys[:-1])),
    )
    for stage, keys in METADATA_KEYS.items()
}
_STAGING: Final = "build-"


def members_of(rows: Iterable[Row]) -> tuple[Member, ...]:
    """Return the members of a plan's rows, in their order."""
    new = partial(tuple.__new__, Member)  # `Member(...)` takes twice as long
    return tuple(map(new, map(itemgetter(0, 1), rows)))


def metadata_bytes(row: Row) -> bytes:
    """Return a member's metadata.json: JSON, indent 2, non-ASCII kept, no newline at the end."""
    form, pick = _FORMS[row.stage]
    return (form % (*map(encode_basestring, pick(row)), row.replicate)).encode("utf-8")


def find_missing(root: DataRoot, rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return which rows have no metadata.json yet.

    StoreError: the path of a generation's folder is a file, or a symbolic link out of the data
    root, or its metadata.json is a dangling link.
    """
    folders = {stage: _folders(root, stage) for stage in {row.stage for row in rows}}
    gens = os.fspath(root.gens)
    # One listing per stage answers for most rows; `access` takes half the time of `exists`.
    missing = [
        row
        for row in rows
        if row.gen_id not in folders[row.stage]
        or not os.access(f"{gens}/{row.stage}/{row.gen_id}/{METADATA}", os.F_OK)
    ]
    in_folders = [row for row in missing if row.gen_id in folders[row.stage]]
    if in_folders:
        _check_folders(root, [root.generation(row.stage, row.gen_id) for row in in_folders])
    return tuple(missing)


def seed(root: DataRoot, rows: Sequence[Row], progress: Progress | None = None) -> None:
    """Create the metadata.json of each row, unless it has appeared since planning.

    Each is written in staging and moved into place together with its folder, so that no crash
    leaves a folder without metadata. Removes what a killed build left in staging.
    """
    sweep_staging(root, _STAGING)
    if not rows:
        return
    for stage in dict.fromkeys(row.stage for row in rows):
        root.stage(stage).mkdir(parents=True, exist_ok=True)
    gens = str(root.gens)
    with staging(root, _STAGING) as temporary:
        for done, row in enumerate(rows, start=1):
            folder = f"{gens}/{row.stage}/{row.gen_id}"
            create_in_folder(f"{temporary}/{row.gen_id}", folder, METADATA, metadata_bytes(row))
            if progress is not None and (done % 100 == 0 or done == len(rows)):
                progress(done, len(rows))


def keep_membership(root: DataRoot, cohort_id: str, data: bytes) -> Path:
    """Keep a cohort's former membership.csv in `.genid/` under the next number; return its path."""
    folder = kept_memberships(root, cohort_id)
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [int(path.stem) for path in listed(folder, ".csv") if path.stem.isdecimal()]
    path = folder / f"{max(numbers, default=0) + 1:04d}.csv"
    sweep_temporaries(root, [path])
    write_atomic(path, data)
    return path


def _check_folders(root: DataRoot, folders: Sequence[Path]) -> None:
    """Refuse existing paths of generations if metadata cannot be created in them.

    StoreError: a path is not a folder, leads out of the data root, or has a dangling metadata.json.
    """
    check_inside(root, *folders)
    problems = [
        Problem(
            where=root.relative(folder),
            message="is not a folder, but a member's metadata belongs in it",
            remedy="move the file away",
        )
        for folder in folders
        if not is_folder(folder)
    ]
    # `access` follows links, so a dangling one has been taken for missing.
    problems += [
        Problem(
            where=root.relative(folder / METADATA),
            message="exists but cannot be reached: a dangling symbolic link",
            remedy="mount the disk or fetch the content that it points to",
        )
        for folder in folders
        if is_folder(folder) and is_there(folder / METADATA)
    ]
    if problems:
        raise StoreError("the store has files where generations belong", problems)


def _folders(root: DataRoot, stage: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(root.stage(stage)))
    except FileNotFoundError:
        return frozenset()
