"""The one writer: a cohort's membership and the metadata of its members.

Metadata is created, each file appearing whole in its folder, and not rewritten here; membership is
replaced atomically, and after all metadata, so that it never names what is not there. What a
rebuild drops is kept. To be called by the holder of the data root's lock.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from json.encoder import encode_basestring
from operator import itemgetter
from pathlib import Path
from typing import Final

from attrs import frozen

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
from genid_store.stages import PIPELINE, Member

#: Called as (done, total) while metadata is written.
Progress = Callable[[int, int], None]

_CREATED: Final = (
    "stage", "gen_id", "origin_cohort_id", "mode", "template_id", "combo_id", "parent_gen_id",
    "llm_model_id", "replicate",
)  # fmt: skip
_EVALUATED: Final = (
    "stage", "gen_id", "template_id", "llm_model_id", "parent_gen_id", "combo_id",
    "origin_cohort_id", "mode", "replicate",
)  # fmt: skip
#: The keys of a metadata.json by stage, in their order.
METADATA_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "draft": tuple(key for key in _CREATED if key != "parent_gen_id"),
    "essay": _CREATED,
    "evaluation": _EVALUATED,
}
#: The same as a text to be filled in, replicate last, and what picks the other columns of a row.
_FORMS: Final = {
    stage: (
        "{\n" + "".join(f'  "{key}": %s,\n' for key in keys[:-1]) + '  "replicate": %d\n}',
        itemgetter(*(Row._fields.index(key) for key in keys[:-1])),
    )
    for stage, keys in METADATA_KEYS.items()
}
_STAGING: Final = "build-"


def members_of(rows: Iterable[Row]) -> tuple[Member, ...]:
    """Return the lines of the membership of a plan's rows, in their order."""
    new = partial(tuple.__new__, Member)  # `Member(...)` takes twice as long
    return tuple(map(new, map(itemgetter(0, 1), rows)))


@frozen(kw_only=True)
class Seeding:
    """The members without metadata, and how many have it, by stage."""

    missing: tuple[Row, ...]
    existing: Mapping[str, int]


def metadata_bytes(row: Row) -> bytes:
    """Return the metadata.json of a member: JSON, indent 2, non-ASCII kept, no newline at the
    end."""
    form, pick = _FORMS[row.stage]
    return (form % (*map(encode_basestring, pick(row)), row.replicate)).encode("utf-8")


def membership_bytes(rows: Iterable[Row]) -> bytes:
    """Return the membership.csv of a plan's rows, in their order."""
    lines = [f"{row.stage},{row.gen_id}\n" for row in rows]
    return "".join(["stage,gen_id\n", *lines]).encode("utf-8")


def find_missing(root: DataRoot, rows: Sequence[Row], unknown: Sequence[Row]) -> Seeding:
    """Return which of the rows have no metadata.json yet; those that are not among the `unknown`
    are known to have one.

    Raises:
        StoreError: the folder of one of them is none, or a symbolic link out of the data root.
    """
    wanted = Counter(map(itemgetter(0), rows))
    folders = {stage: _folders(root, stage) for stage in {row.stage for row in unknown}}
    gens = os.fspath(root.gens)
    missing = [  # `access` asks for no more than whether it is there: half the time of `exists`
        row
        for row in unknown
        if row.gen_id not in folders[row.stage]
        or not os.access(f"{gens}/{row.stage}/{row.gen_id}/{METADATA}", os.F_OK)
    ]
    absent = Counter(row.stage for row in missing)
    existing = {stage: wanted[stage] - absent[stage] for stage in PIPELINE}
    held = [row for row in missing if row.gen_id in folders[row.stage]]
    if held:
        _check_folders(root, [root.generation(row.stage, row.gen_id) for row in held])
    return Seeding(missing=tuple(missing), existing=existing)


def seed(root: DataRoot, rows: Sequence[Row], progress: Progress | None = None) -> None:
    """Create the metadata.json of each row; one that has appeared meanwhile is left alone. Remove
    what a killed build left aside.

    Each is written aside and moved into place together with its folder, so that no crash leaves a
    folder without its metadata.
    """
    sweep_staging(root, _STAGING)
    if not rows:
        return
    for stage in dict.fromkeys(row.stage for row in rows):
        root.stage(stage).mkdir(parents=True, exist_ok=True)
    gens = str(root.gens)
    with staging(root, _STAGING) as aside:
        for done, row in enumerate(rows, start=1):
            folder = f"{gens}/{row.stage}/{row.gen_id}"
            create_in_folder(f"{aside}/{row.gen_id}", folder, METADATA, metadata_bytes(row))
            if progress is not None and (done % 100 == 0 or done == len(rows)):
                progress(done, len(rows))


def kept_memberships(root: DataRoot, cohort_id: str) -> Path:
    """Return the folder in which a cohort's former memberships are kept."""
    return root.own / "memberships" / cohort_id


def keep_membership(root: DataRoot, cohort_id: str, data: bytes) -> Path:
    """Keep a cohort's former membership.csv in `.genid/`, numbered; return where it is."""
    folder = kept_memberships(root, cohort_id)
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [int(path.stem) for path in listed(folder, ".csv") if path.stem.isdecimal()]
    path = folder / f"{max(numbers, default=0) + 1:04d}.csv"
    sweep_temporaries(root, [path])
    write_atomic(path, data)
    return path


def _check_folders(root: DataRoot, folders: Sequence[Path]) -> None:
    """Refuse folders of generations, which are there, that metadata cannot be put into."""
    check_inside(root, *folders)
    problems = [
        Problem(
            where=root.relative(folder),
            message="is not a folder, and a member's metadata belongs into it",
            remedy="move the file away",
        )
        for folder in folders
        if not is_folder(folder)
    ]
    problems += [
        Problem(
            where=root.relative(folder / METADATA),
            message="is there and cannot be reached: a symbolic link whose target is not there",
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
