"""A store of generations for any program: no cohort, no tables and no orchestrator needed.

    store = Store.open("data")
    answer = store.once(Draft(combo_id="c", template_id="t", llm_model_id="m", replicate=1), call)

The first time `call` is called and paid for; afterwards, in any process, the answer is read.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import evolve, field, frozen

from genid import Signature, gen_id, parent_field
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.memberships import read_membership
from genid_store.catalog.metadata import parse_metadata, read_generation
from genid_store.catalog.renamed import read_renamed
from genid_store.errors import Problem, StoreError
from genid_store.fs.files import guarded, is_folder, is_there, write_atomic
from genid_store.fs.jsonfile import dump_object
from genid_store.fs.layout import METADATA, DataRoot, is_segment
from genid_store.fs.locks import BUILD, root_lock
from genid_store.generation.calling import refuse_on_loop
from genid_store.generation.content import read_text
from genid_store.generation.ledger import Ledger
from genid_store.generation.once import Executor, declare, recover
from genid_store.generation.pool import CONCURRENCY, obtain_all
from genid_store.generation.records import Asked, Generator, Outcome
from genid_store.generation.reuse import Plan, plan_reuse
from genid_store.stages import PIPELINE, Member, parent_key, stage_names

#: The options of `once_all` by which a generation is asked for again.
_OFFERED: Final = {"retry_failed", "retry_unparsed"}
_INHERITED: Final = ("combo_id", "llm_model_id")


@frozen
class Store:
    """The generations below one folder; made by `open`. Usable from several threads at once."""

    root: DataRoot
    _lock: threading.Lock = field(factory=threading.Lock, repr=False)
    #: The ledger since the last look at the whole store, by the folders that it looked at.
    _ledger: dict[tuple[int, ...], Ledger] = field(factory=dict, repr=False)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Store:
        """Return the store at `path`, which is made where nothing is there.

        StoreError: it is not a folder, or cannot be made.
        """
        folder = Path(path)
        with guarded(DataRoot(folder.absolute())):
            if is_there(folder) and not is_folder(folder):
                problem = Problem(
                    where=str(folder), message="is not a folder", remedy="give the store's folder"
                )
                raise StoreError("there is no store", [problem])
            folder.mkdir(parents=True, exist_ok=True)
            return cls(DataRoot.open(folder))

    def get(self, signature: Signature[Any]) -> str | None:
        """Return the text of a generation; None: it is not there. Never calls anybody.

        StoreError: the text is there and cannot be read. TypeError: it is not a signature.
        """
        member = _member(signature)
        try:
            return read_text(self.root, *member)
        except OSError:
            with guarded(self.root):
                raise

    def missing(self, signatures: Iterable[Signature[Any]]) -> list[Signature[Any]]:
        """Return those whose text is not there, in the order given. Never calls anybody."""
        return [one for one in signatures if self.get(one) is None]

    def once(self, signature: Signature[Any], call: Generator, **options: Any) -> str:
        """Return the text of a generation: read where it is there, else made by `call`.

        `call` gets a `Request` (an essay's has its draft's text in `parent_text`) and returns text
        or `Generated`; it may be `async def`. `options` are those of `once_all`.

        Raises:
            StoreError: `call` raised, returned no text, the parent's text is not in the store, or a
                failure is on record and `retry_failed` is not given.
            TypeError, ValueError: an argument is not what it should be; nobody was called.
            NotPaid: an `async def` callable asks for this without a thread of its own.
        """
        found = self.get(signature)
        return found if found is not None else self.once_all([signature], call, **options)[0]

    def once_all(
        self,
        signatures: Iterable[Signature[Any]],
        call: Generator,
        *,
        concurrency: int = CONCURRENCY,
        retry_failed: bool = False,
        retry_unparsed: bool = False,
    ) -> list[str]:
        """Return the texts of many generations, in the order given; what is missing is made by
        `call`, ancestors first, at most `concurrency` (1 or more) at a time.

        Raises:
            StoreError: lists those that have no text afterwards, and why; all others are there.
            TypeError, ValueError: an argument is not what it should be; nobody was called.
        """
        if not callable(call):
            raise TypeError(f"expected a callable, got {type(call).__name__}")
        if type(concurrency) is not int or concurrency < 1:
            raise ValueError(f"concurrency: expected a whole number from 1, got {concurrency!r}")
        asked = Asked(retry_failed=retry_failed, retry_unparsed=retry_unparsed)
        texts: dict[Member, str | None] = {}
        todo: dict[Member, Signature[Any]] = {}
        problems: list[Problem] = []
        wanted = [(_member(one), one) for one in signatures]
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
                return [texts[one] or read_text(self.root, *one) or "" for one, _ in wanted]
        raise StoreError(f"{len(problems)} generation(s) have no text", problems)

    def declare(self, cohort_id: str, signatures: Iterable[Signature[Any]]) -> list[str]:
        """Make a cohort of generations that are to be made later (by `genid cohort run`, or in
        Dagster), with their metadata; return their ids in the order given. Never calls anybody.

        Raises:
            StoreError: a cohort of this id was built from tables or has members that are not among
                these, or the data root is in use.
        """
        wanted = {_member(one): one for one in signatures}
        known = is_there(self.root.membership(cohort_id))
        before = set(read_membership(self.root, cohort_id)) if known else set()
        refused = "has members that are not declared now" if before - wanted.keys() else None
        if is_there(self.root.manifest(cohort_id)):
            refused = "was built from tables"
        if refused is not None:
            problem = Problem(where=cohort_id, message=refused, remedy="give another cohort id")
            raise StoreError("the cohort is another one's", [problem])
        lines = ["stage,gen_id", *(f"{stage},{name}" for stage, name in wanted)]
        with guarded(self.root), root_lock(self.root, BUILD):
            ordered = sorted(wanted, key=lambda one: stage_names().index(one.stage))
            for member in (one for wave in _waves(ordered, wanted) for one in wave):
                declare(self.root, member, dump_object(self._metadata(member, wanted[member])))
            self.root.cohort(cohort_id).mkdir(parents=True, exist_ok=True)
            write_atomic(self.root.membership(cohort_id), ("\n".join(lines) + "\n").encode())
        return [name for _, name in wanted]

    def _obtain(
        self,
        todo: Mapping[Member, Signature[Any]],
        call: Generator,
        concurrency: int,
        asked: Asked,
    ) -> list[Outcome]:
        """Make what is missing; return what could not be made."""
        refuse_on_loop()
        ordered = sorted(todo, key=lambda one: stage_names().index(one.stage))
        reason = "not begun: what an earlier call gave can be no text"
        outcomes = {
            one: Outcome(stage=one.stage, gen_id=one.gen_id, kind="stopped", reason=reason)
            for one in ordered
        }
        first = Executor(root=self.root, generator=call, asked=asked, templates=False)

        def report(one: Outcome) -> None:
            outcomes[Member(one.stage, one.gen_id)] = one

        for members in _waves(ordered, todo):
            wave: list[Member] = []
            for one in members:  # of those whose parent has no text nothing is written
                why = self._why_not_over(_parent(todo[one]))
                if why is None:
                    wave.append(one)
                else:
                    report(Outcome(stage=one.stage, gen_id=one.gen_id, kind="blocked", reason=why))
            seeds = {one: dump_object(self._metadata(one, todo[one])) for one in wave}
            plan = self._plan(seeds)
            executor = evolve(first, plan=plan, seeds=seeds)
            for stage in dict.fromkeys(member.stage for member in wave):
                ids = [member.gen_id for member in wave if member.stage == stage]
                obtain_all(executor, stage, ids, report, concurrency=concurrency)
        return [one for one in outcomes.values() if not one.complete]

    def _why_not_over(self, parent: Member | None) -> str | None:
        """Return why nothing can be made over a parent; None: it can, or there is none."""
        if parent is None:
            return None
        where = f"{parent.stage} {parent.gen_id}"
        try:
            if is_segment(parent.gen_id) and read_text(self.root, *parent) is not None:
                return None
        except StoreError as error:
            return str(error.problems[0])
        now = read_renamed(self.root).get((parent.stage, parent.gen_id))
        return f"{where} is {now[-1]} since a migration" if now else f"{where} has no content"

    def _plan(self, seeds: Mapping[Member, bytes]) -> Plan:
        """Return whose texts the members can have. The whole store is looked at once in the life of
        this object, and again after a migration or a rollback has exchanged its folders; what other
        processes make meanwhile is in the ledger."""
        with self._lock:
            folders = tuple(_inode(self.root.stage(stage)) for stage in stage_names())
            if folders not in self._ledger:
                ledger = Ledger(self.root)
                recover(self.root)
                with StoreIndex.fresh(self.root):
                    self._ledger.clear()
                    self._ledger[folders] = ledger
            ledger = self._ledger[folders]
        found = {one: parse_metadata(*one, data, METADATA) for one, data in seeds.items()}
        with StoreIndex.open(self.root) as index:
            return plan_reuse(index, seeds, planned=found, ledger=ledger)

    def _metadata(self, member: Member, signature: Signature[Any]) -> dict[str, object]:
        """Return what a metadata.json says of a signature; the pipeline's stages repeat the combo
        and the model of their parent."""
        values: dict[str, object] = {"stage": member.stage, "gen_id": member.gen_id}
        values |= {**signature.fields(), "mode": "llm"}
        parent = _parent(signature)
        if parent is not None and member.stage in PIPELINE:
            above = read_generation(self.root, *parent)
            for name in _INHERITED:
                value = getattr(above, name)
                if value is not None:
                    values.setdefault(name, value)
        return values


def _member(signature: Signature[Any]) -> Member:
    """Return a signature's stage and id. TypeError: it is not a signature."""
    if not isinstance(signature, Signature):
        wanted = "a signature, such as genid.Draft(...)"
        raise TypeError(f"expected {wanted}, got {type(signature).__name__}")
    return Member(signature.stage, str(gen_id(signature)))


def _problem(one: Outcome) -> Problem:
    """Return why a generation has no text."""
    when = "when the batch is collected" if one.kind == "waiting" else "once the cause is removed"
    return Problem(
        where=f"{one.stage} {one.gen_id}",
        message=f"{one.kind}: {one.reason}",
        remedy=f"ask again {when}",
        ways=tuple(_OFFERED.intersection(one.ways)),
    )


def _parent(signature: Signature[Any]) -> Member | None:
    """Return the parent that a signature names; None for a root."""
    value = signature.fields().get(parent_field(type(signature)) or "")
    above = parent_key(signature.stage, None if value is None else str(value))
    return None if above is None else Member(*above)


def _inode(folder: Path) -> int:
    """Return which folder it is; 0: there is none yet."""
    try:
        return os.stat(folder).st_ino
    except FileNotFoundError:
        return 0


def _waves(
    members: Iterable[Member], wanted: Mapping[Member, Signature[Any]]
) -> Iterator[list[Member]]:
    """Yield the members in steps: each after the parent of its own that is among them."""
    left = dict.fromkeys(members)
    while left:
        wave = [one for one in left if _parent(wanted[one]) not in left]
        yield wave
        for one in wave:
            del left[one]
