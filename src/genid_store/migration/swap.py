"""Exchange the live tree for the one beside it, or back: a journal of a handful of renames.

The journal is one file, `swap.json`, replaced as a whole. Once it says `swapping`, the exchange is
rolled forward, or back, whatever happens. The inode of what is aside, where no one else writes,
shows which places still have to be exchanged. Nothing is overwritten: afterwards the former version
of each place is aside.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args

from attrs import evolve, field, frozen

from genid_store.errors import StoreError
from genid_store.fs import trees
from genid_store.fs.files import check_inside, exists, is_folder, sync_folder, write_atomic
from genid_store.fs.jsonfile import read_json
from genid_store.fs.layout import DataRoot, is_segment
from genid_store.fs.locks import END_IT, MIGRATION, Block, block
from genid_store.migration.planfile import RECORDS, Plan, is_inner, open_plan, plan_ids

JOURNAL: Final = "swap.json"
#: `swapping` and `swapping-back` are unfinished; `migrated` can be rolled back until `finished`.
State = Literal["planned", "swapping", "migrated", "swapping-back", "rolled-back", "finished"]
UNFINISHED: Final = ("swapping", "swapping-back")
REMEDY: Final = "resume it, or roll it back"
_REASON: Final = "a migration exchanges the store and is not finished"
#: folder, from the data root -> its times of access and modification, in nanoseconds
Times = Mapping[str, tuple[int, int]]


class Place(NamedTuple):
    """A path from the data root that is exchanged, and the inodes of its new version and of its
    former one (0: there was none)."""

    path: str
    new: int
    old: int


@frozen
class Swap:
    """The journal of a plan: its state, its places, and the former times of their folders."""

    plan: Plan
    state: State = "planned"
    places: tuple[Place, ...] = ()
    times: Times = field(factory=dict)

    @property
    def unfinished(self) -> bool:
        return self.state in UNFINISHED

    def write(self) -> None:
        """Write the journal durably. OSError: the former one is still in place."""
        document = {"state": self.state, "places": self.places, "times": self.times}
        write_atomic(self.plan.folder / JOURNAL, json.dumps(document, indent=1).encode())

    def roll_forward(self) -> Swap:
        """Exchange every place that is not yet exchanged, and return the journal afterwards.

        StoreError: a place is not as the journal left it, or a symbolic link leads it out of the
        data root. OSError: a step failed; calling it again resumes.
        """
        folders = _folders(self.plan, [place.path for place in self.places])
        for path, new, old in self.places:
            live, aside = self.plan.live(path), self.plan.aside(path)
            if not trees.exchange_places(live, aside, new, old):
                other = self.plan.root.relative(Path(aside))
                summary = "something else changed the store in the middle of its exchange"
                message = f"it is not as the migration left it: compare it with {other}"
                remedy = "bring back the data root from where it was copied, or restore a backup"
                raise StoreError.of(summary, path, message, remedy)
        for folder in folders:
            sync_folder(folder)
        return evolve(self, state="migrated" if self.state == "swapping" else "rolled-back")

    def begun(self) -> Swap:
        """Return the journal of only those places whose exchange has begun."""

        def is_begun(place: Place) -> bool:
            aside = self.plan.aside(place.path)
            return trees.inode(aside) != place.new or exists(aside + trees.OUT)

        return evolve(self, places=tuple(filter(is_begun, self.places)))

    def restore_times(self) -> None:
        """Restore the times of the folders of the places; not essential, so never an error."""
        for folder, times in self.times.items():
            with contextlib.suppress(OSError, OverflowError):
                os.utime(self.plan.live(folder), ns=times)


def folder_times(plan: Plan) -> Times:
    """Return the times of the folders that contain what a plan changes."""
    folders = {folder: plan.live(folder) for folder in map(os.path.dirname, plan.places())}
    found = {name: os.stat(path) for name, path in folders.items() if is_folder(path)}
    return {name: (status.st_atime_ns, status.st_mtime_ns) for name, status in found.items()}


def begin(plan: Plan, paths: Iterable[str], times: Times, *, back: bool = False) -> Swap:
    """Block the store until `paths` are exchanged, and write the journal of that, durably.

    `times` are those to restore afterwards. StoreError: a symbolic link leads a place out of the
    data root. OSError: a step failed. In both cases nothing has begun.
    """
    block(plan.root, Block(by=MIGRATION, reason=_REASON, remedy=REMEDY, ways=END_IT))
    asides = {path: plan.aside(path) for path in paths}
    _folders(plan, asides)
    # The new tree must be on disk before the journal says that it may become live.
    folders = sorted(map(os.path.dirname, asides.values()))
    for folder in {os.stat(folder).st_dev: folder for folder in folders}.values():
        trees.sync_filesystem(folder)
    places = (Place(one, trees.inode(asides[one]), trees.inode(plan.live(one))) for one in asides)
    swap = Swap(plan, "swapping-back" if back else "swapping", tuple(places), times)
    swap.write()
    return swap


def _folders(plan: Plan, paths: Iterable[str]) -> set[Path]:
    """Return the folders of all places, live and aside. StoreError: a symbolic link leads one out
    of the data root."""
    folders = {Path(place(path)).parent for path in paths for place in (plan.live, plan.aside)}
    check_inside(plan.root, *sorted(folders))
    return folders


def open_migration(root: DataRoot) -> Swap | None:
    """Return the one migration that was begun and neither rolled back nor finished, or None.

    StoreError: a journal or its plan is damaged.
    """
    for plan_id in plan_ids(root):
        plan = Plan(root, plan_id)
        if exists(plan.folder / JOURNAL):
            check_inside(root, plan.folder)
            swap = read_swap(plan)
            if swap.unfinished or swap.state == "migrated":
                return evolve(swap, plan=open_plan(root, plan_id))
    return None


def _is_of_records(path: str) -> bool:
    """Return whether a path is that of our records of a stage, which may not be declared here."""
    folder, _, stage = path.rpartition("/")
    return folder in RECORDS and is_segment(stage)


def read_swap(plan: Plan) -> Swap:
    """Return the journal of a plan, `planned` if there is none.

    StoreError: it is damaged, or names a path that a migration cannot have written.
    """
    path = plan.folder / JOURNAL
    try:
        document = read_json(path)
        state, times = document["state"], document["times"].items()
        places = tuple(Place(name, int(new), int(old)) for name, new, old in document["places"])
        folders = {name: (int(one), int(two)) for name, (one, two) in times}
        names = [one.path for one in places if not _is_of_records(one.path)]
        strange = [one for one in names if not is_inner(one) or one.partition("/")[0] == ".genid"]
        strange += [folder for folder in folders if folder and not is_inner(folder)]
        if strange or state not in get_args(State):
            what = "place" if strange else "state"
            raise ValueError(f"{(strange or [state])[0]!r} is not a {what} of this migration")
    except FileNotFoundError:
        return Swap(plan)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        summary = "the migration's journal was changed by something else"
        remedy = "restore the file from a backup; without it no one can tell what was exchanged"
        message = f"it cannot be parsed: {reason}"
        raise StoreError.of(summary, str(path), message, remedy) from error
    return Swap(plan, state, places, folders)
