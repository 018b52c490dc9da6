"""What a migration knows of one generation: as it was found, what becomes of it, what is to do."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class Source:
    """One generation as planning found it; `reason` is why it cannot move, empty where it can.

    `digest` is (size in bytes, BLAKE3 in hex) of metadata.json, None where there is none.
    """

    stage: str
    gen_id: str
    parent_gen_id: str | None = None
    combo_id: str | None = None
    template_id: str | None = None
    llm_model_id: str | None = None
    replicate: int | None = None
    origin_cohort_id: str | None = None
    has_content: bool = False
    digest: tuple[int, str] | None = None
    reason: str = ""
    detail: str = ""


@frozen
class Decision:
    """What becomes of one generation: its new id and number, or why it stays.

    `new_id` is the id it has already where it stays or is right as it is.
    """

    source: Source
    new_id: str
    replicate: int | None
    reason: str = ""
    detail: str = ""

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

    `number` is the generation's place in the plan, by which its originals are kept; `digests` are
    the fingerprints that those files had when the plan was made.
    """

    number: int
    stage: str
    old: str
    new: str
    replicate: int | None
    rewrite: tuple[str, ...]
    digests: tuple[tuple[int | str, str], ...]

    @property
    def moves(self) -> bool:
        return self.old != self.new
