"""Exchange the live tree for the one beside it, or back: a journal of a handful of renames.

The journal is one file, `swap.json`, replaced as a whole. Once it says `swapping`, the exchange is
rolled forward whatever happens: each place that still has its new version aside is exchanged, and
which those are shows in the inode that lies aside, which nobody else touches. Nothing is written
over: what a place held before lies aside afterwards.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args

from attrs import evolve, field, frozen

from genid_store.errors import Problem, StoreError
from genid_store.fs import trees
from genid_store.fs.files import check_inside, exists, is_folder, sync_folder, write_atomic
from genid_store.fs.jsonfile import read_json
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import END_IT, MIGRATION, block
from genid_store.migration.planfile import RECORDS, Plan, is_inner, open_plan, plan_ids
from genid_store.stages import stage_names

JOURNAL: Final = "swap.json"
#: `swapping` and `swapping-back` are unfinished; `migrated` can be rolled back until `finished`.
State = Literal["planned", "swapping", "migrated", "swapping-back", "rolled-back", "finished"]
UNFINISHED: Final = ("swapping", "swapping-back")
REMEDY: Final = "resume it, or roll it back"
_REASON: Final = "a migration exchanges the store and is not finished"
#: folder, from the data root -> its times of access and change, in nanoseconds
Times = Mapping[str, tuple[int, int]]


class Place(NamedTuple):
    """What is exchanged: a path from the data root, and the inodes of the version that is to be
    live and of the one that was (0 where there was none)."""

    path: str
    new: int
    old: int


@frozen
class Swap:
    """The journal of a plan: where it stands, its places, and the times that the folders of the
    places had before."""

    plan: Plan
    state: State = "planned"
    places: tuple[Place, ...] = ()
    times: Times = field(factory=dict)

    @property
    def unfinished(self) -> bool:
        return self.state in UNFINISHED

    def write(self) -> None:
        """Bring the journal to disk. OSError: it could not be, and the old one stands."""
        document = {"state": self.state, "places": self.places, "times": self.times}
        write_atomic(self.plan.folder / JOURNAL, json.dumps(document, indent=1).encode())

    def roll_forward(self) -> Swap:
        """Exchange every place that is not exchanged yet, and return the journal as it is then.

        StoreError: a place is not as the journal left it, or lies behind a symbolic link.
        OSError: the system refused a step; doing it again goes on.
        """
        folders = _folders(self.plan, [place.path for place in self.places])
        for path, new, old in self.places:
            live, aside = self.plan.live(path), self.plan.aside(path)
            if not trees.exchange_places(live, aside, new, old):
                other = self.plan.root.relative(Path(aside))
                message = f"it is not as the migration left it: compare it with {other}"
                remedy = "bring back the data root from where it was copied, or restore a backup"
                problem = Problem(where=path, message=message, remedy=remedy)
                summary = "something else changed the store in the middle of its exchange"
                raise StoreError(summary, [problem])
        for folder in folders:
            sync_folder(folder)
        return evolve(self, state="migrated" if self.state == "swapping" else "rolled-back")

    def begun(self) -> Swap:
        """Return the journal of the places that are exchanged, wholly or half."""
        asides = [(place, self.plan.aside(place.path)) for place in self.places]
        begun = (
            place
            for place, aside in asides
            if trees.inode(aside) != place.new or exists(aside + trees.OUT)
        )
        return evolve(self, places=tuple(begun))

    def restore_times(self) -> None:
        """Give the folders of the places the times they had; not essential, so never an error."""
        for folder, times in self.times.items():
            with contextlib.suppress(OSError, OverflowError):
                os.utime(self.plan.live(folder), ns=times)


def folder_times(plan: Plan) -> Times:
    """Return the times of the folders of the places that a plan changes."""
    folders = {folder: plan.live(folder) for folder in map(os.path.dirname, plan.places())}
    found = {name: os.stat(path) for name, path in folders.items() if is_folder(path)}
    return {name: (status.st_atime_ns, status.st_mtime_ns) for name, status in found.items()}


def begin(plan: Plan, paths: Iterable[str], times: Times, *, back: bool = False) -> Swap:
    """Close the store until places are exchanged, and write that down, on disk on return.

    Everything that lies aside is on disk before. `times` are given back to the folders of the
    places afterwards. StoreError: a symbolic link leads a place out of the data root. OSError: the
    system refused a step. In both cases nothing has begun.
    """
    block(plan.root, by=MIGRATION, reason=_REASON, remedy=REMEDY, ways=END_IT)
    asides = {path: plan.aside(path) for path in paths}
    _folders(plan, asides)
    folders = sorted(map(os.path.dirname, asides.values()))
    for folder in {os.stat(folder).st_dev: folder for folder in folders}.values():
        trees.sync_filesystem(folder)
    places = (Place(one, trees.inode(asides[one]), trees.inode(plan.live(one))) for one in asides)
    swap = Swap(plan, "swapping-back" if back else "swapping", tuple(places), times)
    swap.write()
    return swap


def _folders(plan: Plan, paths: Iterable[str]) -> set[Path]:
    """Return the folders of all places, live and aside. StoreError: a link leads one out."""
    folders = {Path(place(path)).parent for path in paths for place in (plan.live, plan.aside)}
    check_inside(plan.root, *sorted(folders))
    return folders


def open_migration(root: DataRoot) -> Swap | None:
    """Return the migration that was begun and neither rolled back nor finished; at most one.

    StoreError: a journal or its plan is damaged.
    """
    for plan in (Plan(root, plan_id) for plan_id in plan_ids(root)):
        if exists(plan.folder / JOURNAL):
            check_inside(root, plan.folder)
            swap = read_swap(plan)
            if swap.unfinished or swap.state == "migrated":
                return evolve(swap, plan=open_plan(root, plan.plan_id))
    return None


def read_swap(plan: Plan) -> Swap:
    """Return the journal of a plan, `planned` where there is none.

    StoreError: it is damaged, or names a path that is not of this migration.
    """
    path = plan.folder / JOURNAL
    try:
        document = read_json(path)
        state, times = document["state"], document["times"].items()
        places = tuple(Place(name, int(new), int(old)) for name, new, old in document["places"])
        folders = {name: (int(one), int(two)) for name, (one, two) in times}
        ours = {f"{folder}/{stage}" for folder in RECORDS for stage in stage_names()}
        names = [one.path for one in places if one.path not in ours]
        strange = [one for one in names if not is_inner(one) or one.partition("/")[0] == ".genid"]
        strange += [folder for folder in folders if folder and not is_inner(folder)]
        if strange or state not in get_args(State):
            what = "place" if strange else "state"
            raise ValueError(f"{(strange or [state])[0]!r} is not a {what} of this migration")
    except FileNotFoundError:
        return Swap(plan)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        problem = Problem(
            where=str(path),
            message=f"it cannot be made out: {reason}",
            remedy="restore the file from a backup; without it nobody can tell what was exchanged",
        )
        raise StoreError(
            "the migration's journal was changed by something else", [problem]
        ) from error
    return Swap(plan, state, places, folders)
