"""A store of generations for any program: no cohort, no tables and no orchestrator needed.

    store = Store.open("data")
    answer = store.once(Draft(combo_id="c", template_id="t", llm_model_id="m", replicate=1), call)

`call` is called, and paid for, the first time only; later, in any process, the answer is read.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import Factory, evolve, field, frozen

from genid import Signature, gen_id, parent_field
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.memberships import check_new_cohort_id, dump_membership, read_membership
from genid_store.catalog.metadata import parse_metadata, read_generation
from genid_store.catalog.renamed import read_renamed
from genid_store.errors import Problem, StoreError
from genid_store.fs.files import guarded, is_folder, is_there, problem_of, write_atomic
from genid_store.fs.jsonfile import dump_object
from genid_store.fs.layout import METADATA, DataRoot, is_segment
from genid_store.fs.locks import BUILD, root_lock
from genid_store.generation.calling import refuse_on_loop
from genid_store.generation.content import read_text
from genid_store.generation.ledger import Ledger
from genid_store.generation.once import REMOUNT, REPLACED, Executor, declare, recover
from genid_store.generation.pool import CONCURRENCY, obtain_all
from genid_store.generation.records import Asked, Generator, Outcome
from genid_store.generation.reuse import Plan, plan_reuse
from genid_store.stages import PIPELINE, Member, by_stage, parent_key, stage_names

#: The retry options that `once_all` has.
_OFFERED: Final = {"retry_failed", "retry_unparsed"}
_INHERITED: Final = ("combo_id", "llm_model_id")
_LISTED: Final = 3  # members that a refusal names


@frozen
class Store:
    """The generations in one folder; created by `open`. Safe to use from several threads."""

    root: DataRoot
    _lock: threading.Lock = field(factory=threading.Lock, repr=False)
    #: The ledger that complements the index, by the inodes of the stages' folders.
    _ledger: dict[tuple[int, ...], Ledger] = field(factory=dict, repr=False)
    #: The status of the folder that was opened; nothing is made in another one of its name.
    _home: os.stat_result = field(
        default=Factory(lambda new: os.stat(new.root.path), takes_self=True), repr=False, eq=False
    )

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Store:
        """Return the store in the folder `path`, which is created if it does not exist.

        StoreError: `path` is empty, is not a folder, or cannot be created.
        """
        folder = Path(path)
        with guarded(DataRoot(folder.absolute())):
            if path == "" or (is_there(folder) and not is_folder(folder)):
                message, remedy = "is not a folder", "give the store's folder, or . for this one"
                raise StoreError.of("there is no store", str(path) or "the path", message, remedy)
            folder.mkdir(parents=True, exist_ok=True)
            return cls(DataRoot.open(folder))

    def get(self, signature: Signature[Any]) -> str | None:
        """Return the text of a generation, or None; never calls anyone.

        StoreError: the text exists and cannot be read. TypeError: not a signature.
        """
        member = _member(signature)
        try:
            return read_text(self.root, *member)
        except OSError:
            with guarded(self.root):
                raise

    def missing(self, signatures: Iterable[Signature[Any]]) -> list[Signature[Any]]:
        """Return those without a text, in the order given; never calls anyone."""
        return [signature for signature in signatures if self.get(signature) is None]

    def once(
        self,
        signature: Signature[Any],
        call: Generator,
        *,
        concurrency: int = CONCURRENCY,
        retry_failed: bool = False,
        retry_unparsed: bool = False,
    ) -> str:
        """Return the text of a generation: the existing one, or else the answer of `call`.

        `call` gets a `Request` (an essay's has its draft's text in `parent_text`) and returns a
        text or `Generated`; it may be `async def`. The options are those of `once_all`.

        Raises:
            StoreError: `call` raised or returned no text, the parent's text is not in the store, or
                a failure is on record and `retry_failed` is not given.
            TypeError, ValueError: an argument is invalid; nothing was called.
            NotPaid: an `async def` callable calls this on its own event loop.
        """
        text = self.get(signature)
        if text is not None:
            return text
        (made,) = self.once_all(
            [signature],
            call,
            concurrency=concurrency,
            retry_failed=retry_failed,
            retry_unparsed=retry_unparsed,
        )
        return made

    def once_all(
        self,
        signatures: Iterable[Signature[Any]],
        call: Generator,
        *,
        concurrency: int = CONCURRENCY,
        retry_failed: bool = False,
        retry_unparsed: bool = False,
    ) -> list[str]:
        """Return the texts of many generations, in the order given.

        Missing ones are made by `call`, ancestors first, at most `concurrency` (1 or more) at a
        time.

        Raises:
            StoreError: names each generation that has no text, and why; all others have one.
            TypeError, ValueError: an argument is invalid; nothing was called.
        """
        if not callable(call):
            raise TypeError(f"expected a callable, got {type(call).__name__}")
        if type(concurrency) is not int or concurrency < 1:
            raise ValueError(f"concurrency: expected a whole number from 1, got {concurrency!r}")
        for option in (retry_failed, retry_unparsed):
            if type(option) is not bool:
                raise TypeError(f"retry_failed, retry_unparsed: expected a bool, got {option!r}")
        asked = Asked(retry_failed=retry_failed, retry_unparsed=retry_unparsed)
        texts: dict[Member, str | None] = {}
        todo: dict[Member, Signature[Any]] = {}
        problems: list[Problem] = []
        wanted = [(_member(signature), signature) for signature in signatures]
        for member, signature in wanted:
            try:
                texts[member] = self.get(signature)
            except StoreError as error:
                problems += error.problems
                continue
            if texts[member] is None:
                todo[member] = signature
        with guarded(self.root):
            if todo:
                problems += map(_problem, self._obtain(todo, call, concurrency, asked))
            if not problems:
                members = (member for member, _ in wanted)
                return [texts[member] or read_text(self.root, *member) or "" for member in members]
        raise StoreError(f"{len(problems)} generation(s) have no text", problems)

    def declare(self, cohort_id: str, signatures: Iterable[Signature[Any]]) -> list[str]:
        """Create a cohort of generations to be made later, by `genid cohort run` or in Dagster.

        Their metadata is written; nothing is called. Returns their ids in the order given.

        StoreError: a cohort with this id was built from tables or has members that are not among
        these, one has an id that differs in case alone, or the data root is in use.
        """
        check_new_cohort_id(self.root, cohort_id)
        wanted = {_member(signature): signature for signature in signatures}
        exists = is_there(self.root.membership(cohort_id))
        before = set(read_membership(self.root, cohort_id)) if exists else set()
        left = sorted(before - wanted.keys())
        first = ", ".join(" ".join(member) for member in left[:_LISTED])
        more = f" and {len(left) - _LISTED} more" if len(left) > _LISTED else ""
        conflict = f"has members that are not declared now: {first}{more}" if left else None
        if is_there(self.root.manifest(cohort_id)):
            conflict = "was built from tables"
        if conflict is not None:
            summary, remedy = "the cohort cannot be declared", "give another cohort id"
            raise StoreError.of(summary, cohort_id, conflict, remedy)
        with guarded(self.root), root_lock(self.root, BUILD):
            for wave in _waves(wanted):
                for member in wave:
                    declare(self.root, member, dump_object(self._metadata(member, wanted[member])))
            self.root.cohort(cohort_id).mkdir(parents=True, exist_ok=True)
            write_atomic(self.root.membership(cohort_id), dump_membership(wanted))
        return [gen_id for _, gen_id in wanted]

    def _obtain(
        self,
        todo: Mapping[Member, Signature[Any]],
        call: Generator,
        concurrency: int,
        asked: Asked,
    ) -> list[Outcome]:
        """Make what is missing; return the outcomes of what could not be made."""
        refuse_on_loop()
        if not os.path.samestat(os.stat(self.root.path), self._home):
            place, remedy = str(self.root.path), f"{REMOUNT}, or open the store in that folder"
            raise StoreError.of("nothing was made", place, REPLACED, remedy)
        outcomes = {
            member: Outcome(stage=member.stage, gen_id=member.gen_id, kind="stopped")
            for member in by_stage(todo)
        }
        first = Executor(
            root=self.root, generator=call, asked=asked, templates=False, home=self._home
        )

        def report(outcome: Outcome) -> None:
            outcomes[Member(outcome.stage, outcome.gen_id)] = outcome

        for wave in _waves(todo):
            ready: list[Member] = []
            for member in wave:
                fault = self._parent_fault(_parent(todo[member]))
                if fault is None:
                    ready.append(member)
                else:  # nothing is written for a child whose parent has no text
                    reason, remedy = fault
                    report(evolve(outcomes[member], kind="blocked", reason=reason, remedy=remedy))
            seeds: dict[Member, bytes] = {}
            for member in ready:
                try:
                    seeds[member] = dump_object(self._metadata(member, todo[member]))
                except OSError as error:  # about the parent's metadata: the others do not need it
                    fault_now = str(problem_of(self.root, error))
                    report(evolve(outcomes[member], kind="refused", reason=fault_now))
            executor = evolve(first, plan=self._plan(seeds), seeds=seeds)
            for stage in dict.fromkeys(member.stage for member in seeds):
                ids = [member.gen_id for member in seeds if member.stage == stage]
                obtain_all(executor, stage, ids, report, concurrency=concurrency)
        unmade = (outcome for outcome in outcomes.values() if not outcome.complete)
        return [evolve(outcome, reason=outcome.reason or first.stop.why) for outcome in unmade]

    def _parent_fault(self, parent: Member | None) -> tuple[str, str] | None:
        """Return why nothing can be made from a parent, and the remedy, empty if it is not known;
        None if something can, or there is no parent."""
        if parent is None:
            return None
        where = f"{parent.stage} {parent.gen_id}"
        try:
            if is_segment(parent.gen_id) and read_text(self.root, *parent) is not None:
                return None
        except StoreError as error:
            return str(error.problems[0]), ""
        renamed = read_renamed(self.root).get((parent.stage, parent.gen_id))
        if renamed:
            return (
                f"{where} is {renamed[-1]} since a migration",
                f"give {renamed[-1]} as the parent",
            )
        return f"{where} has no content", "make it first"

    def _plan(self, seeds: Mapping[Member, bytes]) -> Plan:
        """Return which existing texts the members can reuse.

        The index is refreshed once in the life of this object, and again after a migration or a
        rollback has exchanged the stages' folders. The ledger has what others made since then.
        """
        with self._lock:
            folders = tuple(_inode(self.root.stage(stage)) for stage in stage_names())
            if folders not in self._ledger:
                # Before the refresh, so that what is made during it is in one of the two.
                ledger = Ledger(self.root)
                recover(self.root)
                with StoreIndex.fresh(self.root):
                    self._ledger.clear()
                    self._ledger[folders] = ledger
            ledger = self._ledger[folders]
        planned = {
            member: parse_metadata(*member, data, METADATA) for member, data in seeds.items()
        }
        with StoreIndex.open(self.root) as index:
            index.fill()  # another process may have been killed with the index open
            return plan_reuse(index, seeds, planned=planned, ledger=ledger)

    def _metadata(self, member: Member, signature: Signature[Any]) -> dict[str, object]:
        """Return the metadata of a signature.

        In the pipeline's stages, a child repeats its parent's combo and model.
        """
        values: dict[str, object] = {"stage": member.stage, "gen_id": member.gen_id}
        values |= {**signature.fields(), "mode": "llm"}
        parent = _parent(signature)
        if parent is not None and member.stage in PIPELINE:
            generation = read_generation(self.root, *parent)
            for name in _INHERITED:
                value = getattr(generation, name)
                if value is not None:
                    values.setdefault(name, value)
        return values


def _member(signature: Signature[Any]) -> Member:
    """Return a signature's stage and id. TypeError: not a signature."""
    if not isinstance(signature, Signature):
        wanted = "a signature, such as genid.Draft(...)"
        raise TypeError(f"expected {wanted}, got {type(signature).__name__}")
    return Member(signature.stage, str(gen_id(signature)))


def _problem(outcome: Outcome) -> Problem:
    """Return why a generation has no text."""
    remedies = {
        "waiting": "try again when the batch is collected",
        "unparsed": "a retry gives the callable that text as `request.unparsed_text`",
    }
    return Problem(
        where=f"{outcome.stage} {outcome.gen_id}",
        message=f"{outcome.kind}: {outcome.reason}",
        remedy=outcome.remedy or remedies.get(outcome.kind, "try again once the cause is removed"),
        ways=tuple(_OFFERED.intersection(outcome.ways)),
    )


def _parent(signature: Signature[Any]) -> Member | None:
    """Return the parent that a signature names; None for a root."""
    value = signature.fields().get(parent_field(type(signature)) or "")
    return parent_key(signature.stage, None if value is None else str(value))


def _inode(folder: Path) -> int:
    """Return the inode of a folder, through a link to it; 0 if it does not exist."""
    try:
        return os.stat(folder).st_ino
    except FileNotFoundError:
        return 0


def _waves(wanted: Mapping[Member, Signature[Any]]) -> Iterator[list[Member]]:
    """Yield the members in steps, by stage, each after the step with its parent."""
    left = dict.fromkeys(by_stage(wanted))
    while left:
        wave = [member for member in left if _parent(wanted[member]) not in left]
        yield wave
        for member in wave:
            del left[member]
