"""Replace old ids by new ones wherever a store names a generation: bytes in, bytes out; pure.

A reference is the value of a key for ids (`gen_id`, `parent_gen_id`, `adopted_from`,
`<stage>_gen_id`, `<stage>_gen_ids`), a path through `gens/<stage>/<id>`, or any text that is
exactly an old id of an unmistakable family (v1, phase-1, legacy). Every other byte of a file is
kept. The same functions with the inverse mapping restore the old ids.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import posixpath
import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from genid import ParseError, parse_id
from genid_store.catalog.metadata import stage_fields
from genid_store.fs.jsonfile import dump_object, load_json, load_object
from genid_store.migration.number import Planned
from genid_store.stages import parent_stage, stage_names

#: stage -> old id -> new id, of the generations whose id changes; has every stage
Mappings = Mapping[str, Mapping[str, str]]

#: The keys that a migration adds to metadata.json.
PREVIOUS: Final = "previous_gen_id"
PLAN: Final = "migration_plan"

#: Keys whose values are never references, even if they look like one, or are former ids. A `task`
#: is the name of a lease: the same v1 id, whatever the generations of the task are called.
_NEVER: Final = {
    PREVIOUS, PLAN, "combo_id", "template_id", "llm_model_id", "model_id", "origin_cohort_id",
    "cohort_id", "stage", "mode", "task",
}  # fmt: skip
_STAGES: Final = stage_names()
_PARENT: Final = {"parent_gen_id", "parent_gen_ids"}
_OWN: Final = {"gen_id", "gen_ids", "adopted_from"}
_BY_KEY: Final = {
    f"{stage}_{name}": stage for stage in _STAGES for name in ("gen_id", "gen_ids", "id", "ids")
}
#: A JSON string, with the colon if it is a key; or a bracket.
_TOKEN: Final = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?|[{}\[\]]', re.DOTALL)
_PATH: Final = re.compile(rf"(?<![^/])gens/({'|'.join(_STAGES)})/([A-Za-z0-9_][A-Za-z0-9._-]*)")
_WORD: Final = re.compile(r"[A-Za-z0-9_]+")
_PATH_LENGTH: Final = 4096  # characters; a longer text, or one with lines, is prose


@frozen
class References:
    """The replacement of references in the files of one stage's generations; `parents` has the new
    ids of parents where they are others (`Work.members`)."""

    mapping: Mappings
    stage: str
    parents: Mappings | None = None

    def new_value(self, value: Any, key: str | None = None) -> Any:
        """Return the new value of a decoded JSON value under `key`."""
        if type(value) is str:
            return self.new_text(key, value)
        if type(value) is dict:
            return {name: self.new_value(child, name) for name, child in value.items()}
        return [self.new_value(child, key) for child in value] if type(value) is list else value

    def new_text(self, key: str | None, value: str) -> str:
        """Return the new value of a text under `key`."""
        if key in _NEVER:
            return value
        if key in _PARENT:
            return self.new_parent(value)
        stage = self.stage if key in _OWN else _BY_KEY.get(key or "")
        if stage is not None:
            return self.mapping.get(stage, {}).get(value, value)
        if "gens/" in value:
            is_prose = len(value) > _PATH_LENGTH or "\n" in value
            return value if is_prose else self.with_new_paths(value)
        return self.by_shape(value)

    def new_parent(self, old: str) -> str:
        """Return the new id of a parent. An id of a wrong stage is replaced as well, because the
        error should remain traceable."""
        mapping = self.parents or self.mapping
        right = mapping.get(parent_stage(self.stage) or "", {})
        return next((one[old] for one in (right, *mapping.values()) if old in one), old)

    def with_new_paths(self, text: str) -> str:
        """Return a text with the paths in it replaced."""

        def path(found: re.Match[str]) -> str:
            stage, old = found[1], found[2]
            return f"gens/{stage}/{self.mapping[stage].get(old, old)}"

        return _PATH.sub(path, text)

    def by_shape(self, value: str) -> str:
        """Return the new id of a text that is an id of an unmistakable family."""
        new = next((moved[value] for moved in self.mapping.values() if value in moved), value)
        with contextlib.suppress(ParseError):
            return value if new == value or parse_id(value).family == "foreign" else new
        return value


# -- documents -------------------------------------------------------------------------------------
def rewrite_json(data: bytes, references: References) -> bytes:
    """Return a JSON document with its references replaced and every other byte kept. What is not
    JSON in UTF-8 is returned unchanged."""
    try:
        load_json(data, allow_nan=True)
    except ValueError:
        return data
    text = data.decode("utf-8")
    pieces: list[str] = []
    start = 0
    keys: list[str | None] = [None]  # of the current value, and of each object or array around it
    for token in _TOKEN.finditer(text):
        quoted, is_key = token[1], token[2]
        if quoted is None:
            keys.append(keys[-1]) if token[0] in "{[" else keys.pop()
            continue
        value = load_json(quoted) if "\\" in quoted else quoted[1:-1]
        if is_key is not None:
            keys[-1] = value
            continue
        new = references.new_text(keys[-1], value)
        if new != value:
            pieces += (text[start : token.start()], json.dumps(new, ensure_ascii=False))
            start = token.end()
    return "".join([*pieces, text[start:]]).encode("utf-8") if pieces else data


def rewrite_metadata(data: bytes, references: References, entry: Planned, plan: str) -> bytes:
    """Return the metadata.json of a generation that has a new id, number or parent.

    `data` is a JSON object (planning has parsed it). After a second new id `previous_gen_id` is a
    list, oldest first: every former id of the generation still resolves.
    """
    document = references.new_value(load_object(data, allow_nan=True))
    document["gen_id"] = entry.new
    parent = stage_fields(entry.stage).parent
    if parent is not None and entry.parent is not None:
        document[parent] = entry.parent
    document["replicate"] = entry.replicate
    if entry.moves:
        earlier = document.get(PREVIOUS)
        if type(earlier) is str:
            earlier = [earlier]
        document[PREVIOUS] = [*earlier, entry.old] if type(earlier) is list else entry.old
        document[PLAN] = plan
    return dump_object(document)


def restore_metadata(data: bytes, references: References, original: bytes) -> bytes:
    """Return metadata that was changed after `rewrite_metadata`, with the ids from before.

    `references` are the inverse, and `original` is the metadata from before: keys that the
    migration set are taken from there, all others from `data`. What is not a JSON object is
    returned unchanged.
    """
    try:
        document = references.new_value(load_object(data, allow_nan=True))
        before = load_object(original, allow_nan=True)
    except ValueError:
        return data
    for key in ("gen_id", "replicate", PREVIOUS, PLAN):
        if key in before:
            document[key] = before[key]
        else:
            document.pop(key, None)
    return dump_object(document)


# -- other files -----------------------------------------------------------------------------------
def rewrite_file(data: bytes, what: str, mapping: Mappings) -> bytes:
    """Return the new contents of a file outside `gens/`. ValueError: it is malformed."""
    if what == "membership":
        return rewrite_membership(data, mapping)
    if what in mapping:
        return rewrite_selection(data, mapping[what])
    references = References(mapping, _STAGES[0])
    return (rewrite_json if what == "manifest" else rewrite_prose)(data, references)


def rewrite_prose(data: bytes, references: References) -> bytes:
    """Return any text with its paths replaced, and the words that are old ids of an unmistakable
    family; bytes that are not UTF-8 are kept."""
    text = references.with_new_paths(data.decode("utf-8", "surrogateescape"))
    text = _WORD.sub(lambda found: references.by_shape(found[0]), text)
    return text.encode("utf-8", "surrogateescape")


def rewrite_membership(data: bytes, mapping: Mappings) -> bytes:
    """Return a membership.csv with its ids replaced; line ends and other columns are kept.

    ValueError: it is not UTF-8, not CSV, or lacks the columns `stage` and `gen_id`.
    """
    text = data.decode("utf-8-sig")
    try:
        header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        at, own = header.index("stage"), header.index("gen_id")
    except (csv.Error, ValueError) as error:
        message = f"it is not CSV with the columns stage and gen_id: {error}"
        raise ValueError(message) from error
    parent = header.index("parent_gen_id") if "parent_gen_id" in header else len(header)
    changed = False
    for row in rows:
        stage = row[at] if at < len(row) else ""
        for column, named in ((own, stage), (parent, parent_stage(stage) or "")):
            new = mapping.get(named, {}).get(row[column]) if column < len(row) else None
            if new is not None:
                row[column], changed = new, True
    if not changed:
        return data
    out, end = io.StringIO(newline=""), "\r\n" if b"\r\n" in data else "\n"
    csv.writer(out, lineterminator=end).writerows([header, *rows])
    text = out.getvalue() if data.endswith((b"\n", b"\r")) else out.getvalue().removesuffix(end)
    return (b"\xef\xbb\xbf" if data.startswith(b"\xef\xbb\xbf") else b"") + text.encode("utf-8")


def rewrite_selection(data: bytes, mapping: Mapping[str, str]) -> bytes:
    """Return a selection file with the ids on its lines replaced; all else is kept.
    UnicodeDecodeError: it is not UTF-8."""

    def selected(line: str) -> str:
        old = line.removeprefix("\ufeff").strip()  # a byte order mark stands before the first line
        return line.replace(old, mapping[old], 1) if old in mapping else line

    return "".join(map(selected, data.decode("utf-8").splitlines(keepends=True))).encode()


def retarget(target: str, folder: str, root: str, mapping: Mappings) -> str:
    """Return the new target of a symbolic link.

    `folder` is the path of the link's folder from the data root, which is at `root`. Only links
    through gens/<stage>/<old id> change, in that segment.
    """
    start = f"{root}/" if target.startswith(f"{root}/") else ""
    if target.startswith("/") and not start:
        return target
    parts = target.removeprefix(start).split("/")
    for at, part in enumerate(parts):
        inner = posixpath.join("" if start else folder, *parts[: at + 1])
        place = posixpath.normpath(inner).split("/")
        if place[0] == "..":
            break  # it leads out of the data root
        if len(place) == 3 and place[0] == "gens" and place[2] == part:
            new = mapping.get(place[1], {}).get(part)
            if new is not None:
                return start + "/".join([*parts[:at], new, *parts[at + 1 :]])
    return target
