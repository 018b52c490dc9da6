"""What a migration knows of one generation: as it was found, what becomes of it, what is to do."""

from __future__ import annotations

from attrs import frozen

from genid_store.catalog.metadata import Described


@frozen(kw_only=True, slots=False)
class Source(Described):
    """One generation as planning found it; `reason` is why it cannot move, empty where it can.

    `adopted_from` is the generation of its stage whose text it has: the two are one.
    """

    has_content: bool = False
    adopted_from: str | None = None
    reason: str = ""
    detail: str = ""


@frozen
class Decision:
    """What becomes of one generation: its new id and number, or why it stays.

    `new_id` is the id it has already where it stays or is right as it is. `parent` is its parent's
    id afterwards, None for a draft and where it stays. `same_as` is the generation, by its old id,
    that has the same text by adoption and stands for both: this one stays, its children follow.
    """

    source: Source
    new_id: str
    replicate: int | None
    reason: str = ""
    detail: str = ""
    parent: str | None = None
    same_as: str | None = None

    @property
    def moves(self) -> bool:
        return self.new_id != self.source.gen_id


@frozen(kw_only=True)
class Duplicate:
    """Several generations that claim one number of one task: who keeps it, who gets which."""

    stage: str
    task: str
    replicate: int
    kept: str
    renumbered: tuple[tuple[str, int], ...]


@frozen
class Step:
    """What is to do for one generation: `rewrite` names its files to be rewritten, from its folder.

    `number` is the generation's place in the plan, by which its originals are kept; `parent` is its
    parent's id afterwards; `digests` are the fingerprints that those files had when the plan was
    made.
    """

    number: int
    stage: str
    old: str
    new: str
    replicate: int | None
    parent: str | None
    rewrite: tuple[str, ...]
    digests: tuple[tuple[int | str, str], ...]

    @property
    def moves(self) -> bool:
        return self.old != self.new
