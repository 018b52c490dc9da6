"""Read a generation's metadata.json; the only module that coerces unusual values.

These are coerced, and listed in `Generation.coerced`: `template_id` under its older names,
`llm_model_id` under `model_id`, and a `replicate` that is missing, a text of digits, or a whole
float. Any other deviation from the contract becomes a problem with a stable code, and the field is
None, never a guess. Texts are kept unchanged, because legacy ids are derived from them.

The fields of a stage are those of its signature class, so a stage that a user declares is read like
the pipeline's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final

import attrs
from attrs import evolve, field, frozen

import genid
from genid import REPLICATE_MAX
from genid_store.catalog import findings
from genid_store.catalog.findings import finding
from genid_store.errors import NO_VALUE, Problem, StoreError
from genid_store.fs.files import is_folder, read_bytes
from genid_store.fs.jsonfile import load_object
from genid_store.fs.layout import METADATA, DataRoot
from genid_store.stages import PIPELINE, Member, parent_key

#: The key for the generation whose content a member was given.
ADOPTED_FROM: Final = "adopted_from"
#: The number that an absent replicate stands for: the first of its task.
ABSENT_REPLICATE: Final = 1
#: The key of the parent's id for a stage whose signature has no parent.
_PARENT: Final = "parent_gen_id"
#: The texts that any generation may have, each in its own attribute.
_COMMON: Final = ("combo_id", "origin_cohort_id", "mode", "template_id", "llm_model_id")
_OLDER_MODEL: Final = "model_id"
#: The keys that cannot be fields of a signature.
_OURS: Final = {"stage", "gen_id", "mode", "origin_cohort_id", "previous_gen_id", ADOPTED_FROM}
#: The keys that only some generations have, or that older versions of the pipeline wrote.
_UNUSUAL: Final = {
    ADOPTED_FROM,
    _OLDER_MODEL,
    *(f"{stage}_template" for stage in PIPELINE),
}
_NO_FOLDER: Final = "restore or rename it, or build its cohort again, which makes it"
#: A number without sign, space, `_` or leading zero.
_DIGITS: Final = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@frozen(kw_only=True, slots=False)  # slots make a frozen record twice as slow to make
class Generation:
    """One generation as its folder and its metadata describe it; what the metadata lacks is None.

    `gen_id` is the folder's name, by which everything refers to the generation. `parent_gen_id` is
    the value of the field for the parent, whatever its name. `others` are the components of a
    user's stage that have no attribute here. `declared_gen_id` is the id in the metadata, and
    `previous_gen_ids` are those before migrations. `adopted_from` is the generation whose content
    it was given. `raw` is the parsed metadata, empty if it could not be parsed.
    """

    stage: str
    gen_id: str
    parent_gen_id: str | None = None
    combo_id: str | None = None
    template_id: str | None = None
    llm_model_id: str | None = None
    replicate: int | None = None
    origin_cohort_id: str | None = None
    others: Mapping[str, str] = _NOTHING
    declared_gen_id: str | None = None
    mode: str | None = None
    adopted_from: str | None = None
    previous_gen_ids: tuple[str, ...] = ()
    coerced: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    raw: Mapping[str, Any] = field(default=_NOTHING, repr=False)

    @property
    def parent(self) -> Member | None:
        """The parent, None for a root or if the metadata names none."""
        return parent_key(self.stage, self.parent_gen_id)

    @property
    def effective_replicate(self) -> int | None:
        """The replicate, 1 if the metadata has none, None if it has a wrong one."""
        if self.replicate is not None:
            return self.replicate
        wrong = any(problem.field == "replicate" for problem in self.problems)
        return None if wrong else ABSENT_REPLICATE

    def signature_fields(self) -> dict[str, Any]:
        """Return the value of each field of the stage's signature; those of a wrong type are left
        out, because what they stand for is unknown."""
        fields = stage_fields(self.stage)
        values = dict(zip(fields.direct, fields.pick(self), strict=False))
        for name in fields.others:
            values[name] = self.others.get(name)
        for problem in self.problems:
            if problem.code == findings.FIELD_WRONG:
                values.pop(problem.field, None)
        return values


@frozen(kw_only=True)
class StageFields:
    """The fields of a stage's metadata, from its signature class.

    `parent` is the field for the parent's id. `required` excludes the replicate, which is 1 if
    absent. `others` have no attribute of their own; `pick` returns the values of the `direct` ones,
    which have. `keys` are looked up in every document.
    """

    signature: type[genid.Signature[Any]]
    parent: str | None
    every: tuple[str, ...]
    required: tuple[str, ...]
    others: tuple[str, ...]
    texts: tuple[str, ...]
    keys: tuple[str, ...]
    direct: tuple[str, ...]
    pick: Callable[[Generation], tuple[Any, ...]]


def stage_fields(stage: str) -> StageFields:
    """Return the fields of a declared stage. KeyError: there is no such stage."""
    return _fields_of(genid.STAGES[stage])  # type: ignore[arg-type]  # a class is hashable


@cache
def _fields_of(cls: type[genid.Signature[Any]]) -> StageFields:
    every = attrs.fields(cls)
    parent = genid.parent_field(cls)
    taken = _OURS.intersection(one.name for one in every)
    if taken:
        problem = Problem(
            where=f"the stage {cls.stage}",
            message=f"metadata.json already has a key named {', '.join(sorted(taken))}",
            remedy="give the field of the signature another name",
        )
        raise StoreError("a stage cannot be kept in a store", [problem])
    names = tuple(one.name for one in every)
    others = tuple(one for one in names if one not in (*_COMMON, parent, "replicate"))
    attributes = {"replicate": "effective_replicate", parent: _PARENT}
    direct = tuple(one for one in names if one not in others)
    texts = (parent or _PARENT, *_COMMON, *others)
    return StageFields(
        signature=cls,
        parent=parent,
        every=names,
        required=tuple(
            one.name for one in every if one.default is attrs.NOTHING and one.name != "replicate"
        ),
        others=others,
        texts=texts,
        keys=("gen_id", "stage", "replicate", *texts, "previous_gen_id"),
        direct=direct,
        # "stage" makes the result a tuple even if only one field is direct
        pick=attrgetter(*(attributes.get(one, one) for one in direct), "stage"),
    )


def read_generation(root: DataRoot, stage: str, gen_id: str) -> Generation:
    """Read gens/<stage>/<gen_id>/metadata.json; `problems` has everything wrong with its content.

    Raises:
        StoreError: `gen_id` is not a safe path segment.
        OSError: the file cannot be read now, which says nothing about its content.
    """
    folder = root.generation(stage, gen_id)
    where = f"gens/{stage}/{gen_id}/{METADATA}"
    try:
        data = read_bytes(f"{folder}/{METADATA}")
    except (FileNotFoundError, NotADirectoryError) as error:
        if is_folder(folder):
            return unreadable(stage, gen_id, where, error)
        message = "there is no folder of this name"
        missing = finding(findings.METADATA_MISSING, f"gens/{stage}/{gen_id}", message=message)
        return _unread(stage, gen_id, evolve(missing, remedy=_NO_FOLDER))
    return parse_metadata(stage, gen_id, data, where)


def inspect_generation(root: DataRoot, stage: str, gen_id: str) -> Generation:
    """Do the same, with a file that cannot be read as one of the problems.

    For reports and plans. Whoever decides to pay uses `read_generation`: what cannot be read for a
    moment may be what was paid for. StoreError: `gen_id` is not a safe path segment.
    """
    try:
        return read_generation(root, stage, gen_id)
    except OSError as error:
        return unreadable(stage, gen_id, f"gens/{stage}/{gen_id}/{METADATA}", error)


def unreadable(stage: str, gen_id: str, where: str, error: OSError) -> Generation:
    """Return a generation whose metadata could not be read, or does not exist."""
    missing = isinstance(error, FileNotFoundError | NotADirectoryError)
    code = findings.METADATA_MISSING if missing else findings.METADATA_UNREADABLE
    value = NO_VALUE if missing else error.strerror
    return _unread(stage, gen_id, finding(code, where, value=value))


def parse_metadata(stage: str, gen_id: str, data: bytes, where: str) -> Generation:
    """Return the generation that the bytes of a metadata.json describe; invalid bytes never raise.

    `where` is the file's path as messages show it.
    """
    if not data.strip():
        return _unread(stage, gen_id, finding(findings.METADATA_EMPTY, where))
    try:
        raw = load_object(data, allow_nan=True)
    except ValueError as error:
        reason = str(error) or type(error).__name__
        return _unread(stage, gen_id, finding(findings.METADATA_MALFORMED, where, value=reason))
    return _plain(stage, gen_id, raw) or _Reading(stage, gen_id, raw, where).generation()


def _unread(stage: str, gen_id: str, problem: Problem) -> Generation:
    return Generation(stage=stage, gen_id=gen_id, problems=(problem,))


def plain_texts(fields: StageFields, gen_id: str, raw: dict[str, Any]) -> list[Any] | None:
    """Return the texts of a plain document (`StageFields.texts`, then `previous_gen_id`).

    Nearly all documents are plain: they have nothing to coerce and no problem. For any other this
    returns None, and `_Reading` has to read it.
    """
    declared, said, replicate, *texts = map(raw.get, fields.keys)
    *every, _previous = texts
    if (
        declared != gen_id
        or said != fields.signature.stage
        or type(replicate) is not int
        or not 1 <= replicate <= REPLICATE_MAX
        or not raw.keys().isdisjoint(_UNUSUAL)
        or (None in every and None in map(raw.get, fields.required))
    ):
        return None
    given = [text for text in texts if text is not None]
    try:
        return texts if "".join(given).isascii() and "" not in given else None
    except TypeError:  # not a text
        return None


def _plain(stage: str, gen_id: str, raw: dict[str, Any]) -> Generation | None:
    """Return the generation that a plain document describes, None for any other document."""
    fields = stage_fields(stage)
    texts = plain_texts(fields, gen_id, raw)
    if texts is None:
        return None
    *values, previous = texts
    return Generation(
        stage=stage,
        gen_id=gen_id,
        declared_gen_id=gen_id,
        replicate=raw["replicate"],
        previous_gen_ids=() if previous is None else (previous,),
        raw=raw,
        **_attributes(fields, dict(zip(fields.texts, values, strict=True))),
    )


def _attributes(fields: StageFields, values: dict[str, Any]) -> dict[str, Any]:
    """Return a document's texts by the names of `Generation`'s attributes."""
    if fields.parent not in (None, _PARENT):
        values[_PARENT] = values.pop(fields.parent)
    if fields.others:
        others = {name: values.pop(name) for name in fields.others}
        values["others"] = {name: text for name, text in others.items() if text is not None}
    return values


class _Reading:
    """Read one parsed document, collecting its fields, coercions and problems."""

    def __init__(self, stage: str, gen_id: str, raw: dict[str, Any], where: str) -> None:
        self.stage, self.gen_id, self.raw, self.where = stage, gen_id, raw, where
        self.fields = stage_fields(stage)
        self.coerced: list[str] = []
        self.problems: list[Problem] = []

    def generation(self) -> Generation:
        """Return the generation that the document describes."""
        raw = self.raw
        declared, stage = self._text("gen_id"), self._text("stage")
        values = {name: self._text(name) for name in self.fields.texts}
        self._compare("gen_id", declared, self.gen_id, findings.FOLDER_MISMATCH)
        self._compare("stage", stage, self.stage, findings.STAGE_MISMATCH)
        if self.stage in PIPELINE:
            for name, older in (
                ("template_id", f"{self.stage}_template"),
                ("llm_model_id", _OLDER_MODEL),
            ):
                if older in raw:
                    values[name] = self._renamed(name, values[name], older)
        for name in self.fields.required:
            if values[name] is None and not self._is_wrong(name):
                self._add(findings.FIELD_MISSING, name, f"{name} is missing")
        return Generation(
            stage=self.stage,
            gen_id=self.gen_id,
            declared_gen_id=declared,
            replicate=self._replicate(),
            adopted_from=self._text(ADOPTED_FROM) if ADOPTED_FROM in raw else None,
            previous_gen_ids=self._previous() if "previous_gen_id" in raw else (),
            coerced=tuple(self.coerced),
            problems=tuple(self.problems),
            raw=raw,
            **_attributes(self.fields, values),
        )

    def _add(self, code: str, name: str, message: str, value: object = NO_VALUE) -> None:
        self.problems.append(finding(code, self.where, field=name, message=message, value=value))

    def _text(self, name: str) -> str | None:
        """Return a field's text unchanged, None if it is absent, null, empty or not a text."""
        value = self.raw.get(name)
        if type(value) is str and value and _is_text(value):
            return value
        if value is None or value == "":
            return None
        self._add(findings.FIELD_WRONG, name, f"{name} is not a text", value)
        return None

    def _is_wrong(self, name: str) -> bool:
        return any(problem.field == name for problem in self.problems)

    def _compare(self, name: str, value: str | None, actual: str, mismatch: str) -> None:
        """Add a problem if the metadata and the folder disagree."""
        if value == actual:
            return
        if value is not None:
            self._add(mismatch, name, f"{name} is not {actual!r}, as the folder says", value)
        elif not self._is_wrong(name):
            self._add(findings.FIELD_MISSING, name, f"{name} is missing")

    def _renamed(self, name: str, value: str | None, older: str) -> str | None:
        """Return a field under its name, else under its older one, which counts as coerced."""
        fallback = self._text(older)
        if value is None and fallback is not None and not self._is_wrong(name):
            self.coerced.append(f"{name} read from {older}")
            return fallback
        if value is not None and fallback is not None and fallback != value:
            message = f"{name} is {value!r} and {older}, its older name, says otherwise"
            self._add(findings.FIELD_CONFLICT, name, message, fallback)
        return value

    def _replicate(self) -> int | None:
        value = self.raw.get("replicate")
        if type(value) is int and 1 <= value <= REPLICATE_MAX:
            return value
        if value is None:
            self.coerced.append("replicate is missing")
            return None
        number = _whole(value)
        if number is not None and 1 <= number <= REPLICATE_MAX:
            self.coerced.append(f"replicate read from {value!r}")
            return number
        self._add(findings.FIELD_WRONG, "replicate", "replicate is not a number from 1", value)
        return None

    def _previous(self) -> tuple[str, ...]:
        value = self.raw.get("previous_gen_id")
        if value is None:
            return ()
        values = value if type(value) is list else [value]
        if all(type(one) is str and _is_text(one) for one in values):
            return tuple(values)
        self._add(findings.FIELD_WRONG, "previous_gen_id", "previous_gen_id is not a text", value)
        return ()


def _whole(value: object) -> int | None:
    """Return the number in a text of digits or in a float without a fraction, else None."""
    if type(value) is str and _DIGITS.fullmatch(value):
        return int(value)
    if type(value) is float and value.is_integer():
        return int(value)
    return None


def _is_text(value: str) -> bool:
    """Return whether a text can be encoded; JSON escapes can form half a surrogate pair."""
    if value.isascii():
        return True
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
