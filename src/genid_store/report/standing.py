"""Where a store stands: how many generations of each family and stage, made and waiting; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from attrs import frozen

from genid_store.report.drawing import Segment, bar
from genid_store.report.holdings import Held
from genid_store.stages import PIPELINE

#: family -> what it is, in the order in which it is drawn: the target first.
FAMILIES: Final = {
    "v1": "deterministic, the format of today",
    "phase-1": "deterministic, the first helpers",
    "legacy": "one cohort's own",
    "foreign": "made by hand or by older tools",
    "unverifiable": "looks like phase-1 and its metadata does not confirm it",
}


@frozen(kw_only=True)
class StageStanding:
    """One stage: its generations by family, how many have content, and the bar drawn of them."""

    stage: str
    families: tuple[tuple[str, int], ...]
    made: int
    waiting: int
    segments: tuple[Segment, ...]

    @property
    def total(self) -> int:
        return self.made + self.waiting

    @property
    def deterministic(self) -> int:
        """How many have the id that the same task has in every cohort (v1 or phase-1)."""
        return sum(count for family, count in self.families if family in ("v1", "phase-1"))


@frozen
class Standing:
    """Every stage's standing, in the order of the stages."""

    stages: tuple[StageStanding, ...]

    @property
    def total(self) -> int:
        return sum(stage.total for stage in self.stages)

    @property
    def deterministic(self) -> int:
        return sum(stage.deterministic for stage in self.stages)

    def of_family(self, family: str) -> int:
        """How many generations have an id of this family."""
        return sum(dict(stage.families)[family] for stage in self.stages)

    @property
    def made(self) -> int:
        return sum(stage.made for stage in self.stages)


def stand(generations: Iterable[Held]) -> Standing:
    """Count generations by stage and family, and draw them."""
    families: Counter[tuple[str, str]] = Counter()
    made: Counter[str] = Counter()
    for generation in generations:
        families[generation.stage, generation.family] += 1
        made[generation.stage] += generation.has_content
    return Standing(tuple(_stage(stage, families, made[stage]) for stage in PIPELINE))


def _stage(stage: str, families: Counter[tuple[str, str]], made: int) -> StageStanding:
    counts = tuple((family, families[stage, family]) for family in FAMILIES)
    total = sum(count for _, count in counts)
    return StageStanding(
        stage=stage, families=counts, made=made, waiting=total - made, segments=bar(counts)
    )
