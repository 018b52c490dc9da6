"""What a store holds, as the report's parts ask for it: by id, by task, by stage; pure.

A task is named by its v1 id in a fresh deterministic cohort, which the index derives ancestors
first: two generations of one task are one piece of work under two ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

from attrs import Factory, field, frozen

from genid_store.catalog.index.rows import Indexed


@frozen(kw_only=True)
class Held:
    """One generation of the store; `task` is None where its metadata does not say which it is.

    `paid` says whether there is any answer, `has_content` whether it is parsed. `replicate` is None
    where the metadata gives none, `number` only where it gives a wrong one.
    """

    stage: str
    gen_id: str
    family: str
    has_content: bool
    paid: bool = field(default=Factory(lambda self: self.has_content, takes_self=True))
    parent_gen_id: str | None = None
    combo_id: str | None = None
    template_id: str | None = None
    llm_model_id: str | None = None
    replicate: int | None = None
    number: int | None = None
    task: str | None = None
    mode: str | None = None


def held(indexed: Indexed, task: str | None) -> Held:
    """Return what the report keeps of an index record."""
    return Held(
        stage=indexed.stage,
        gen_id=indexed.gen_id,
        family=indexed.family,
        has_content=indexed.has_content,
        paid=indexed.content is not None,
        parent_gen_id=indexed.parent_gen_id,
        combo_id=indexed.combo_id,
        template_id=indexed.template_id,
        llm_model_id=indexed.llm_model_id,
        replicate=indexed.replicate,
        number=indexed.effective_replicate,
        task=task,
        mode=indexed.mode,
    )


@frozen
class Holdings:
    """Every generation of a store, found by (stage, id) and, where it has content, by task."""

    by_id: Mapping[tuple[str, str], Held]
    by_task: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, generations: Iterable[Held]) -> Self:
        """Arrange generations; those of one task in the order given."""
        by_id: dict[tuple[str, str], Held] = {}
        by_task: dict[str, list[str]] = {}
        for one in generations:
            by_id[one.stage, one.gen_id] = one
            if one.has_content and one.task is not None:
                by_task.setdefault(one.task, []).append(one.gen_id)
        return cls(by_id, {task: tuple(ids) for task, ids in by_task.items()})

    def get(self, stage: str, gen_id: str) -> Held | None:
        """Return a generation, None where the store does not hold it."""
        return self.by_id.get((stage, gen_id))

    def is_paid(self, stage: str, gen_id: str) -> bool:
        """Say whether the store holds an answer under this id, so that a run makes none."""
        one = self.by_id.get((stage, gen_id))
        return one is not None and one.paid

    def elsewhere(self, task: str | None, gen_id: str) -> tuple[str, ...]:
        """Return the other ids under which the store holds a text of this task."""
        if task is None:
            return ()
        return tuple(other for other in self.by_task.get(task, ()) if other != gen_id)

    def of_stage(self, stage: str) -> list[Held]:
        """Return the generations of a stage."""
        return [one for one in self.by_id.values() if one.stage == stage]
