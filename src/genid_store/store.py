"""A store of generations for any program: no cohort, no tables and no orchestrator needed.

    store = Store.open("data")
    answer = store.once(Draft(combo_id="c", template_id="t", llm_model_id="m", replicate=1), call)

The first time `call` is called and paid for; afterwards, in any process, the answer is read.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from genid import Signature, gen_id, parent_field
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.memberships import Member
from genid_store.catalog.metadata import read_generation
from genid_store.errors import Problem, StoreError
from genid_store.fs.files import (
    create_in_folder,
    guarded,
    is_there,
    read_bytes,
    staging,
    write_atomic,
)
from genid_store.fs.jsonfile import dump_object
from genid_store.fs.layout import METADATA, PARSED, DataRoot
from genid_store.fs.locks import BUILD, root_lock
from genid_store.generation.asked import Asked
from genid_store.generation.content import fault_of_bytes
from genid_store.generation.ledger import Ledger
from genid_store.generation.once import Executor, recover
from genid_store.generation.pool import CONCURRENCY, obtain_all
from genid_store.generation.records import Generator, Outcome
from genid_store.generation.reuse import Plan, plan_reuse
from genid_store.stages import PIPELINE, parent_key, stage_names

_LISTED: Final = 20  # generations that one error names
_INHERITED: Final = ("combo_id", "llm_model_id")


@frozen
class Store:
    """The generations below one folder; made by `open`. Usable from several threads at once."""

    root: DataRoot
    _lock: threading.Lock = field(factory=threading.Lock, repr=False)
    _ledger: list[Ledger] = field(factory=list, repr=False)  # from the first look at the store on

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Store:
        """Return the store at `path`, which is made where nothing is there.

        StoreError: it is not a folder, or cannot be made.
        """
        folder = Path(path)
        with guarded(DataRoot(folder.absolute())):
            folder.mkdir(parents=True, exist_ok=True)
        return cls(DataRoot.open(folder))

    def get(self, signature: Signature[Any]) -> str | None:
        """Return the text of a generation; None: it is not there. Never calls anybody.

        StoreError: the text is there and cannot be read.
        """
        with guarded(self.root, reading=True):
            return self._read(signature.stage, str(gen_id(signature)))

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
        """
        wanted = list(signatures)
        ids = [str(gen_id(one)) for one in wanted]
        todo = {
            Member(one.stage, name): one
            for one, name in zip(wanted, ids, strict=True)
            if self._read(one.stage, name) is None
        }
        failed = self._obtain(todo, call, concurrency, retry_failed, retry_unparsed) if todo else []
        if failed:
            problems = [
                Problem(
                    where=f"{one.stage} {one.gen_id}",
                    message=f"{one.kind}: {one.reason}",
                    remedy="see the reason; what is there is never made again",
                )
                for one in failed[:_LISTED]
            ]
            raise StoreError(f"{len(failed)} generation(s) have no text", problems)
        return [self._read(one.stage, name) or "" for one, name in zip(wanted, ids, strict=True)]

    def declare(self, cohort_id: str, signatures: Iterable[Signature[Any]]) -> list[str]:
        """Make a cohort of generations that are to be made later (by `genid cohort run`, or in
        Dagster), with their metadata; return their ids in the order given. Never calls anybody.

        Raises:
            StoreError: a cohort of this id was built from tables, or the data root is in use.
        """
        wanted = {Member(one.stage, str(gen_id(one))): one for one in signatures}
        if is_there(self.root.manifest(cohort_id)):
            remedy = "give another cohort id"
            problem = Problem(where=cohort_id, message="was built from tables", remedy=remedy)
            raise StoreError("the cohort is another one's", [problem])
        lines = ["stage,gen_id", *(f"{stage},{name}" for stage, name in wanted)]
        with guarded(self.root), root_lock(self.root, BUILD):
            ordered = sorted(wanted, key=lambda one: stage_names().index(one.stage))
            for wave in _waves(ordered, wanted):
                self._seed({member: wanted[member] for member in wave})
            self.root.cohort(cohort_id).mkdir(parents=True, exist_ok=True)
            write_atomic(self.root.membership(cohort_id), ("\n".join(lines) + "\n").encode())
        return [name for _, name in wanted]

    def _obtain(
        self,
        todo: Mapping[Member, Signature[Any]],
        call: Generator,
        concurrency: int,
        retry_failed: bool,
        retry_unparsed: bool,
    ) -> list[Outcome]:
        """Make what is missing; return what could not be made."""
        ordered = sorted(todo, key=lambda one: stage_names().index(one.stage))
        failed: list[Outcome] = []
        for members in _waves(ordered, todo):
            wave, orphans = self._with_parents(members, todo)
            failed += orphans
            with guarded(self.root):
                self._seed({member: todo[member] for member in wave})
            executor = Executor(
                root=self.root,
                generator=call,
                plan=self._plan(wave),
                asked=Asked(retry_failed=retry_failed, retry_unparsed=retry_unparsed),
                templates=False,
            )
            for stage in dict.fromkeys(member.stage for member in wave):
                ids = [member.gen_id for member in wave if member.stage == stage]
                obtain_all(executor, stage, ids, _keeping(failed), concurrency=concurrency)
        return failed

    def _with_parents(
        self, wave: list[Member], todo: Mapping[Member, Signature[Any]]
    ) -> tuple[list[Member], list[Outcome]]:
        """Return the members whose parent has a text, and an outcome for each other one, of which
        nothing is written."""
        ready, orphans = [], []
        for member in wave:
            parent = _parent(todo[member])
            if parent is None or self._read(*parent) is not None:
                ready.append(member)
            else:
                reason = f"{parent.stage} {parent.gen_id} has no content"
                orphans.append(
                    Outcome(stage=member.stage, gen_id=member.gen_id, kind="blocked", reason=reason)
                )
        return ready, orphans

    def _plan(self, members: Iterable[Member]) -> Plan:
        """Return whose texts the members can have. The whole store is looked at once in the life of
        this object; what other processes make meanwhile is in the ledger."""
        with self._lock:
            if not self._ledger:
                ledger = Ledger(self.root)
                recover(self.root)
                with StoreIndex.fresh(self.root):
                    self._ledger.append(ledger)
        with StoreIndex.open(self.root) as index:
            return plan_reuse(index, members, ledger=self._ledger[0])

    def _seed(self, wanted: Mapping[Member, Signature[Any]]) -> None:
        """Create the metadata of those that have none."""
        with staging(self.root, "once-") as aside:
            for member, signature in wanted.items():
                folder = self.root.generation(*member)
                if is_there(folder / METADATA):
                    continue
                folder.parent.mkdir(parents=True, exist_ok=True)
                document = dump_object(self._metadata(member, signature))
                create_in_folder(f"{aside}/{member.gen_id}", str(folder), METADATA, document)

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

    def _read(self, stage: str, name: str) -> str | None:
        path = self.root.generation(stage, name) / PARSED
        try:
            data = read_bytes(path)
            text, fault = data.decode("utf-8"), fault_of_bytes(data)
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as error:
            text, fault = "", f"{error}; write the text in UTF-8"
        if fault is None:
            return text
        remedy = "put the text back, or remove the file to have it made again"
        problem = Problem(where=self.root.relative(path), message=fault, remedy=remedy)
        raise StoreError("a text cannot be read", [problem])


def _parent(signature: Signature[Any]) -> Member | None:
    """Return the parent that a signature names; None for a root."""
    value = signature.fields().get(parent_field(type(signature)) or "")
    above = parent_key(signature.stage, None if value is None else str(value))
    return None if above is None else Member(*above)


def _keeping(failed: list[Outcome]) -> Callable[[Outcome], None]:
    return lambda outcome: None if outcome.complete else failed.append(outcome)


def _waves(
    members: Iterable[Member], wanted: Mapping[Member, Signature[Any]]
) -> list[list[Member]]:
    """Return the members in steps: each after the parent of its own that is among them."""
    depths: dict[Member, int] = {}

    def depth(member: Member) -> int:
        if member not in depths:
            key = _parent(wanted[member])
            depths[member] = 1 + depth(key) if key in wanted and key is not None else 0
        return depths[member]

    waves: dict[int, list[Member]] = {}
    for member in members:
        waves.setdefault(depth(member), []).append(member)
    return [waves[number] for number in sorted(waves)]
