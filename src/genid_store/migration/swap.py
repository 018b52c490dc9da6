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
from typing import Final, Literal, get_args

from attrs import astuple, evolve, field, frozen

from genid_store.errors import Problem, StoreError
from genid_store.fs import trees
from genid_store.fs.files import check_inside, sync_folder, write_atomic
from genid_store.fs.jsonfile import read_json
from genid_store.fs.layout import DataRoot
from genid_store.migration.build import STATE_FOLDERS
from genid_store.migration.planfile import Plan, is_inner, open_plan, plan_ids

JOURNAL: Final = "swap.json"
#: `swapping` and `swapping-back` are unfinished; `migrated` can be rolled back until `finished`.
State = Literal["planned", "swapping", "migrated", "swapping-back", "rolled-back", "finished"]
UNFINISHED: Final = ("swapping", "swapping-back")
#: folder, from the data root -> its times of access and change, in nanoseconds
Times = Mapping[str, tuple[int, int]]


@frozen
class Place:
    """What is exchanged: a path from the data root, and the inodes of the version that is to be
    live and of the one that was (0 where there was none)."""

    path: str
    new: int = field(converter=int)
    old: int = field(converter=int)


@frozen
class Swap:
    """The journal of a migration: where it stands, its places, and the times that the folders of
    the places had before."""

    state: State
    places: tuple[Place, ...] = ()
    times: Times = field(factory=dict)

    @property
    def unfinished(self) -> bool:
        return self.state in UNFINISHED

    def write(self, plan: Plan) -> None:
        """Bring the journal to disk. OSError: it could not be, and the old one stands."""
        places = [astuple(one) for one in self.places]
        document = {"state": self.state, "places": places, "times": self.times}
        write_atomic(plan.folder / JOURNAL, json.dumps(document, indent=1).encode())


def read_swap(plan: Plan) -> Swap:
    """Return the journal of a plan, `planned` where there is none.

    StoreError: it is damaged, or names a path that is not of this migration.
    """
    path = plan.folder / JOURNAL
    try:
        document = read_json(path)
        swap = Swap(
            document["state"],
            tuple(Place(*one) for one in document["places"]),
            {str(name): (int(one[0]), int(one[1])) for name, one in document["times"].items()},
        )
    except FileNotFoundError:
        return Swap("planned")
    except OSError as error:
        raise _damaged(path, f"it cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise _damaged(path, f"it cannot be made out: {error}") from error
    if swap.state not in get_args(State):
        raise _damaged(path, f"there is no state {swap.state!r}")
    wrong = [place.path for place in swap.places if not _is_ours(place.path)]
    wrong += [folder for folder in swap.times if folder and not is_inner(folder)]
    if wrong:
        raise _damaged(path, f"{wrong[0]!r} is not a place of this migration")
    return swap


def open_migration(root: DataRoot) -> tuple[Plan, Swap] | None:
    """Return the migration that was begun and neither rolled back nor finished; at most one.

    StoreError: a journal or its plan is damaged.
    """
    for plan_id in plan_ids(root):
        plan = Plan(root, plan_id)
        if os.path.lexists(plan.folder / JOURNAL):
            check_inside(root, plan.folder)
            swap = read_swap(plan)
            if swap.unfinished or swap.state == "migrated":
                return open_plan(root, plan_id), swap
    return None


def begin(plan: Plan, paths: Iterable[str], times: Times, *, back: bool = False) -> Swap:
    """Write down that places are exchanged from now on, on disk on return.

    Everything that lies aside is on disk before. `times` are given back to the folders of the
    places afterwards. OSError: nothing has begun. StoreError: a symbolic link leads a place out of
    the data root, and nothing has begun.
    """
    asides = {path: plan.aside(path) for path in paths}
    _check_inside(plan, asides)
    folders = sorted(map(os.path.dirname, asides.values()))
    for folder in {os.stat(folder).st_dev: folder for folder in folders}.values():
        trees.sync_filesystem(folder)
    found = [
        Place(path, trees.inode(aside), trees.inode(plan.live(path)))
        for path, aside in asides.items()
    ]
    swap = Swap("swapping-back" if back else "swapping", tuple(found), times)
    swap.write(plan)
    return swap


def roll_forward(plan: Plan, swap: Swap) -> Swap:
    """Exchange every place that is not exchanged yet, and return the journal as it is then.

    StoreError: a place is not as the journal left it, or lies behind a symbolic link.
    OSError: the system refused a step; doing it again goes on.
    """
    folders = _check_inside(plan, [place.path for place in swap.places])
    for place in swap.places:
        live, aside = plan.live(place.path), plan.aside(place.path)
        if not trees.exchange_places(live, aside, place.new, place.old):
            raise _lost(plan, place)
    for folder in folders:
        sync_folder(folder)
    return evolve(swap, state="migrated" if swap.state == "swapping" else "rolled-back")


def _check_inside(plan: Plan, paths: Iterable[str]) -> set[Path]:
    """Return the folders of all places, live and aside. StoreError: a link leads one out."""
    folders = {Path(place(path)).parent for path in paths for place in (plan.live, plan.aside)}
    check_inside(plan.root, *sorted(folders))
    return folders


def is_exchanged(plan: Plan, place: Place) -> bool:
    """Say whether a place has its new version live, or is in the middle of it."""
    aside = plan.aside(place.path)
    return trees.inode(aside) != place.new or os.path.lexists(aside + trees.OUT)


def folder_times(plan: Plan, paths: Iterable[str]) -> Times:
    """Return the times of the folders that paths lie in, by their paths from the data root."""
    times = {}
    for folder in {os.path.dirname(path) for path in paths}:
        if os.path.isdir(plan.live(folder)):
            status = os.stat(plan.live(folder))
            times[folder] = (status.st_atime_ns, status.st_mtime_ns)
    return times


def restore_times(plan: Plan, swap: Swap) -> None:
    """Give the folders of the places the times they had; not essential, so never an error."""
    for folder, times in swap.times.items():
        with contextlib.suppress(OSError):
            os.utime(plan.live(folder), ns=times)


def _is_ours(path: str) -> bool:
    """Say whether a migration can have written a place."""
    return path in STATE_FOLDERS or (is_inner(path) and path.partition("/")[0] != ".genid")


def _lost(plan: Plan, place: Place) -> StoreError:
    aside = plan.root.relative(Path(plan.aside(place.path)))
    problem = Problem(
        where=place.path,
        message=f"it is not as the migration left it: compare it with {aside}",
        remedy="bring back the data root from where it was copied, or restore a backup of it",
    )
    return StoreError("something else changed the store in the middle of its exchange", [problem])


def _damaged(path: Path, message: str) -> StoreError:
    remedy = "restore the file from a backup; without it nobody can tell what was exchanged"
    problem = Problem(where=str(path), message=message, remedy=remedy)
    return StoreError("the migration's journal was changed by something else", [problem])
