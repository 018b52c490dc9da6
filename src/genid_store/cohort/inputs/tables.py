"""The raw tables of a data root, read and checked: `1_raw/*.csv` -> RawTables.

Refuses, all at once and each as `file:line:column`: a missing file or column, text that is not
UTF-8 or not CSV, a blank or repeated id, a flag that is neither true nor false, a generator that is
neither llm nor (of essays) copy, a replicate count that is not a whole number from 1 up. Ids keep
the spelling of the table; what a deterministic id folds is looked at in `cohort.axes`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, Literal, TypeVar

from attrs import frozen

from genid import REPLICATE_MAX
from genid_store.errors import Problem, StoreError
from genid_store.fs.csvfile import Line, read_csv
from genid_store.fs.files import is_there
from genid_store.fs.layout import DataRoot
from genid_store.stages import PIPELINE

Mode = Literal["llm", "copy"]
Row = TypeVar("Row")

_COUNT: Final = re.compile(r"[1-9][0-9]{0,9}")
_BOOLEANS: Final = {"true": True, "false": False}


@frozen(kw_only=True)
class Template:
    """One row of a `*_templates.csv`; `where` is its id's place, `file:line:column`."""

    template_id: str
    generator: Mode
    active: bool
    where: str


@frozen(kw_only=True)
class Model:
    """One row of `llm_models.csv`; `model` is the provider's name, where the table gives one."""

    llm_model_id: str
    for_generation: bool
    for_evaluation: bool
    model: str | None
    where: str


@frozen(kw_only=True)
class Concept:
    """One row of `concepts_metadata.csv`."""

    concept_id: str
    name: str
    active: bool
    where: str


@frozen(kw_only=True)
class RawTables:
    """The raw tables, rows in table order; `templates` and `replicates` by stage."""

    templates: Mapping[str, tuple[Template, ...]]
    models: tuple[Model, ...]
    concepts: tuple[Concept, ...]
    replicates: Mapping[str, int]

    def active_templates(self, stage: str) -> tuple[Template, ...]:
        """Return the templates of `stage` that new cohorts use."""
        return tuple(template for template in self.templates[stage] if template.active)

    @property
    def generation_models(self) -> tuple[Model, ...]:
        """The models that write drafts."""
        return tuple(model for model in self.models if model.for_generation)

    @property
    def evaluation_models(self) -> tuple[Model, ...]:
        """The models that judge essays."""
        return tuple(model for model in self.models if model.for_evaluation)

    @property
    def active_concepts(self) -> tuple[Concept, ...]:
        """The concepts that new combos are made of."""
        return tuple(concept for concept in self.concepts if concept.active)

    def generator(self, stage: str, template_id: str) -> Mode | None:
        """Return how a template's generations are made, None where no row has that id."""
        for template in self.templates[stage]:
            if template.template_id == template_id:
                return template.generator
        return None


def read_tables(root: DataRoot) -> RawTables:
    """Read the six tables of a data root.

    Raises:
        StoreError: lists everything that is wrong with any of them.
    """
    problems: list[Problem] = []
    reading = _Reading(root, problems)
    templates = {
        stage: reading.rows(
            f"{stage}_templates.csv", ("template_id",), partial(_template, copies=stage == "essay")
        )
        for stage in PIPELINE
    }
    models = reading.rows("llm_models.csv", ("id", "for_generation", "for_evaluation"), _model)
    concepts = reading.rows("concepts_metadata.csv", ("concept_id", "name", "active"), _concept)
    known = len(problems)
    counts = dict(reading.rows("replication_config.csv", ("stage", "replicates"), _count))
    if len(problems) == known and len(counts) < len(PIPELINE):
        problems.extend(_missing_counts(root, counts))
    if problems:
        raise StoreError("the raw tables cannot be used", problems)
    return RawTables(templates=templates, models=models, concepts=concepts, replicates=counts)


def provider_models(root: DataRoot) -> Mapping[str, str]:
    """Return model id -> the provider's name, as llm_models.csv has it; empty where there is no
    such table (a cohort can be run from its membership alone). The other tables are not looked at.

    StoreError: the table is there and cannot be read, or an id of it is blank or repeated;
    nothing is to be paid for then, since it might be asked of another model.
    """
    path = root.raw / "llm_models.csv"
    if not is_there(path):
        return {}
    problems: list[Problem] = []
    lines = read_csv(root, path, ("id",), problems)
    problems.extend(id_problems(lines, "id"))
    if problems:
        raise StoreError("the models' names are ambiguous or missing", problems)
    return {line["id"]: model for line in lines if (model := line.get("model"))}


@frozen
class _Reading:
    """Reads tables one after the other and collects what is wrong with any of them."""

    root: DataRoot
    problems: list[Problem]

    def rows(
        self, name: str, columns: Sequence[str], parse: Callable[[Line, list[Problem]], Row]
    ) -> tuple[Row, ...]:
        """Return the parsed rows of a table whose first column of `columns` is its id."""
        lines = read_csv(self.root, self.root.raw / name, columns, self.problems)
        self.problems.extend(id_problems(lines, columns[0]))
        return tuple([parse(line, self.problems) for line in lines])


def id_problems(lines: Sequence[Line], column: str) -> Iterator[Problem]:
    """Yield what is wrong with the ids of a table's lines: blank, or there already."""
    first: dict[str, Line] = {}
    for line in lines:
        text = line[column]
        if not text.strip():
            where = line.where(column)
            yield Problem(where=where, message="is blank", remedy="give the row an id")
        elif text in first:
            message = f"is there already, in line {first[text].number}"
            yield line.problem(column, message, "remove one of the rows")
        first.setdefault(text, line)


def _template(line: Line, problems: list[Problem], *, copies: bool) -> Template:
    return Template(
        template_id=line["template_id"],
        generator=_generator(line, problems, copies=copies),
        active=line.get("active") is None or _flag(line, "active", problems),
        where=line.where("template_id"),
    )


def _model(line: Line, problems: list[Problem]) -> Model:
    return Model(
        llm_model_id=line["id"],
        for_generation=_flag(line, "for_generation", problems),
        for_evaluation=_flag(line, "for_evaluation", problems),
        model=line.get("model") or None,
        where=line.where("id"),
    )


def _concept(line: Line, problems: list[Problem]) -> Concept:
    return Concept(
        concept_id=line["concept_id"],
        name=line["name"],
        active=_flag(line, "active", problems),
        where=line.where("concept_id"),
    )


def _count(line: Line, problems: list[Problem]) -> tuple[str, int]:
    stage, text = line["stage"], line["replicates"]
    if stage.strip() and stage not in PIPELINE:
        remedy = f"use one of {', '.join(PIPELINE)}"
        problems.append(line.problem("stage", "is not a stage", remedy))
    if _COUNT.fullmatch(text) and int(text) <= REPLICATE_MAX:
        return stage, int(text)
    remedy = f"write a whole number from 1 to {REPLICATE_MAX}"
    problems.append(line.problem("replicates", "is not a replicate count", remedy))
    return stage, 1


def _missing_counts(root: DataRoot, counts: Mapping[str, int]) -> Iterator[Problem]:
    for stage in PIPELINE:
        if stage not in counts:
            yield Problem(
                where=root.relative(root.raw / "replication_config.csv"),
                message=f"has no row for the stage {stage}",
                remedy="give draft, essay and evaluation one row each",
            )


def _flag(line: Line, column: str, problems: list[Problem]) -> bool:
    text = line[column].lower()
    if text not in _BOOLEANS:
        problems.append(line.problem(column, "is not a flag", "write true or false"))
    return _BOOLEANS.get(text, False)


def _generator(line: Line, problems: list[Problem], *, copies: bool) -> Mode:
    """Return a template's generator; only where it `copies` may it be `copy`."""
    folded = (line.get("generator") or "").strip().lower()  # as the existing pipeline reads it
    if folded == "copy":
        if not copies:
            message = "copies an essay's draft, and this template is not one for essays"
            problems.append(line.problem("generator", message, "write llm"))
        return "copy"
    if folded not in ("", "llm"):
        remedy = "write llm or copy (empty means llm)"
        problems.append(line.problem("generator", "is not a generator", remedy))
    return "llm"
