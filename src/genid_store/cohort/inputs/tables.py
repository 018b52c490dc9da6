"""Read and check the raw tables of a data root: `1_raw/*.csv` -> RawTables.

Refuses, in one error and each as `file:line:column`: a missing file or column, text that is not
UTF-8 or not CSV, a blank or repeated id, a flag that is neither true nor false, a generator that is
neither llm nor (for essays) copy, and a replicate count that is not a whole number of 1 or more.
Ids keep the spelling of the table; `planning.axes` checks those that a deterministic id would fold
together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, Literal, TypeVar

from attrs import frozen

from genid import REPLICATE_MAX
from genid_store.catalog.memberships import cohort_ids
from genid_store.errors import Problem, StoreError
from genid_store.fs.csvfile import Line, read_csv
from genid_store.fs.files import is_there
from genid_store.fs.layout import DataRoot
from genid_store.stages import PIPELINE

Mode = Literal["llm", "copy"]
Row = TypeVar("Row")

_NAMED: Final = 5  # cohorts that an error names
_COUNT: Final = re.compile(r"[1-9][0-9]{0,9}")
_BOOLEANS: Final = {"true": True, "false": False}


@frozen(kw_only=True)
class Template:
    """One row of a `*_templates.csv`; `where` is the place of its id, `file:line:column`."""

    template_id: str
    generator: Mode
    active: bool
    where: str


@frozen(kw_only=True)
class Model:
    """One row of `llm_models.csv`; `model` is the provider's name, None if the table has none."""

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
    """The raw tables, rows in table order; `templates` and `replicates` are keyed by stage."""

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
        """Return the generator of a template, None if no row has that id."""
        for template in self.templates[stage]:
            if template.template_id == template_id:
                return template.generator
        return None


def read_tables(
    root: DataRoot, further: Callable[[RawTables], Iterable[Problem]] = lambda tables: ()
) -> RawTables:
    """Read the six tables of a data root.

    `further` returns what would be refused later about the rows that could be read; tables with
    problems are refused with these, too.

    StoreError: lists the problems of all tables; or there is no folder for them, but cohorts, which
    a program has declared.
    """
    if not is_there(root.raw) and (known := cohort_ids(root)):
        named = ", ".join(known[:_NAMED])
        remedy = f"give the id of an existing cohort ({named}), or write the tables there"
        summary, where = "there are no tables to build a cohort from", root.relative(root.raw)
        raise StoreError.of(summary, where, "does not exist", remedy)
    problems: list[Problem] = []
    read = partial(_read, root, problems)
    templates = {
        stage: read(
            f"{stage}_templates.csv",
            ("template_id",),
            partial(_template, copies=stage == "essay"),
            optional=("generator", "active"),
        )
        for stage in PIPELINE
    }
    models = read(
        "llm_models.csv", ("id", "for_generation", "for_evaluation"), _model, optional=("model",)
    )
    concepts = read("concepts_metadata.csv", ("concept_id", "name", "active"), _concept)
    before = len(problems)
    counts = dict(read("replication_config.csv", ("stage", "replicates"), _count))
    # If a row is invalid, its stage may be one of those that seem to be missing.
    if len(problems) == before:
        problems += [
            Problem(
                where=root.relative(root.raw / "replication_config.csv"),
                message=f"has no row for the stage {stage}",
                remedy="give draft, essay and evaluation one row each",
            )
            for stage in PIPELINE
            if stage not in counts
        ]
    tables = RawTables(templates=templates, models=models, concepts=concepts, replicates=counts)
    if problems:
        places = {problem.where for problem in problems}
        problems += (problem for problem in further(tables) if problem.where not in places)
        raise StoreError("the raw tables cannot be used", problems)
    return tables


def provider_models(root: DataRoot) -> Mapping[str, str]:
    """Return the providers' names in llm_models.csv by model id; reads no other table.

    Empty if the table does not exist, because a cohort can be run from its membership alone.

    StoreError: the table exists but cannot be read, or has a blank or repeated id. Nothing may be
        paid for then, since a request could go to the wrong model.
    """
    path = root.raw / "llm_models.csv"
    if not is_there(path):
        return {}
    problems: list[Problem] = []
    lines = read_csv(root, path, ("id",), problems, optional=("model",))
    problems.extend(_id_problems(lines, "id"))
    if problems:
        raise StoreError("the models' names are ambiguous or missing", problems)
    return {line["id"]: model for line in lines if (model := line.get("model"))}


def _read(
    root: DataRoot,
    problems: list[Problem],
    name: str,
    columns: Sequence[str],
    parse: Callable[[Line, list[Problem]], Row],
    *,
    optional: Sequence[str] = (),
) -> tuple[Row, ...]:
    """Return the parsed rows of one table; the first of `columns` holds its ids."""
    lines = read_csv(root, root.raw / name, columns, problems, optional=optional)
    problems.extend(_id_problems(lines, columns[0]))
    return tuple([parse(line, problems) for line in lines])


def _id_problems(lines: Sequence[Line], column: str) -> Iterator[Problem]:
    """Yield a problem for each blank or repeated id."""
    first: dict[str, Line] = {}
    for line in lines:
        text = line[column]
        if not text.strip():
            where = line.where(column)
            yield Problem(where=where, message="is blank", remedy="give the row an id")
        elif text in first:
            message = f"is already in line {first[text].number}"
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


def _flag(line: Line, column: str, problems: list[Problem]) -> bool:
    text = line[column].lower()
    if text not in _BOOLEANS:
        problems.append(line.problem(column, "is not a flag", "write true or false"))
    return _BOOLEANS.get(text, False)


def _generator(line: Line, problems: list[Problem], *, copies: bool) -> Mode:
    """Return a template's generator; `copy` is allowed only if `copies` is set."""
    # The pipeline ignores case and surrounding white space in this column alone.
    generator = (line.get("generator") or "").strip().lower()
    if generator == "copy":
        if not copies:
            message = "copies an essay's draft, and this template is not one for essays"
            problems.append(line.problem("generator", message, "write llm"))
        return "copy"
    if generator not in ("", "llm"):
        remedy = "write llm or copy (empty means llm)"
        problems.append(line.problem("generator", "is not a generator", remedy))
    return "llm"
