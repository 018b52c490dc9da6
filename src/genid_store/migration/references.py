"""Replace old ids by new ones wherever a store names a generation: bytes in, bytes out; pure.

What counts as a reference: the value of a key that says so (`gen_id`, `parent_gen_id`,
`adopted_from`, `<stage>_gen_id`, `<stage>_gen_ids`), a path through `gens/<stage>/<id>`, and any
text that is exactly an old id of a shape that nothing else has (v1, phase-1, legacy). Every other
byte of a file stays. The same functions, with the mapping turned round, lead back.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring
from typing import Any, Final

from attrs import frozen

from genid import ParseError, parse_id
from genid_store.stages import parent_stage, stage_names

#: stage -> old id -> new id, of the generations that move; every stage is there
IdMapping = Mapping[str, Mapping[str, str]]

#: The keys that a migration adds to metadata.json.
PREVIOUS: Final = "previous_gen_id"
PLAN: Final = "migration_plan"

#: Keys whose values are never generations, even where they look like one, or that say what was.
_NEVER: Final = {
    PREVIOUS,
    PLAN,
    "combo_id",
    "template_id",
    "llm_model_id",
    "model_id",
    "origin_cohort_id",
    "cohort_id",
    "stage",
    "mode",
}
_STAGES: Final = stage_names()
_PARENT: Final = {"parent_gen_id", "parent_gen_ids"}
_BY_KEY: Final = {
    name: stage
    for stage in _STAGES
    for name in (f"{stage}_gen_id", f"{stage}_gen_ids", f"{stage}_id", f"{stage}_ids")
}
#: A JSON string and whether it is a key, or a bracket.
_TOKEN: Final = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?|[{}\[\]]', re.DOTALL)
_PATH: Final = re.compile(rf"(?<![^/])gens/({'|'.join(_STAGES)})/([A-Za-z0-9_][A-Za-z0-9._-]*)")
_WORD: Final = re.compile(r"[A-Za-z0-9_]+")
_PATH_LENGTH: Final = 4096  # characters; what is longer or has lines is prose, not a path


@frozen
class References:
    """The replacement of references in the files of one stage's generations."""

    mapping: IdMapping
    stage: str

    def new_text(self, key: str | None, value: str) -> str | None:
        """Return what a text under `key` becomes; None: it names nothing that moves."""
        if key in _NEVER:
            return None
        if key in _PARENT:
            return self.new_parent(value)
        stage = self._stage(key)
        if stage is not None:
            return self.mapping[stage].get(value)
        if "gens/" in value:
            return self._path(value)
        return self._by_shape(value)

    def new_parent(self, old: str) -> str | None:
        """Return a parent's new id; one of a stage that cannot be the parent's follows as well, so
        that what is wrong stays findable."""
        right = parent_stage(self.stage)
        for stage in (*([] if right is None else [right]), *_STAGES):
            if old in self.mapping[stage]:
                return self.mapping[stage][old]
        return None

    def new_prose(self, text: str) -> str:
        """Return prose with every word replaced that is an old id of an unmistakable shape, and
        with the paths in it replaced."""
        return _WORD.sub(lambda found: self._by_shape(found[0]) or found[0],
                         _PATH.sub(self._segment, text))  # fmt: skip

    def _stage(self, key: str | None) -> str | None:
        if key in {"gen_id", "gen_ids", "adopted_from"}:
            return self.stage
        return _BY_KEY.get(key or "")

    def _path(self, value: str) -> str | None:
        if len(value) > _PATH_LENGTH or "\n" in value:
            return None
        changed = _PATH.sub(self._segment, value)
        return changed if changed != value else None

    def _segment(self, found: re.Match[str]) -> str:
        stage, old = found[1], found[2]
        return f"gens/{stage}/{self.mapping[stage].get(old, old)}"

    def _by_shape(self, value: str) -> str | None:
        for stage in _STAGES:
            new = self.mapping[stage].get(value)
            if new is not None and _is_unmistakable(value):
                return new
        return None


def _is_unmistakable(value: str) -> bool:
    try:
        return parse_id(value).family != "foreign"
    except ParseError:
        return False


def rewrite_json(data: bytes, references: References) -> bytes:
    """Return a JSON document with its references replaced and every other byte as it was.

    What is not JSON in UTF-8 comes back unchanged.
    """
    try:
        text = data.decode("utf-8")
        json.loads(text)
    except (ValueError, RecursionError):
        return data
    return _replace_strings(text, references.new_text).encode("utf-8")


def _replace_strings(text: str, new_text: Callable[[str | None, str], str | None]) -> str:
    """Replace string values; `new_text` gets each with the key that it, or its array, stands at."""
    pieces: list[str] = []
    start = 0
    keys: list[str | None] = [None]
    for token in _TOKEN.finditer(text):
        quoted, is_key = token[1], token[2]
        if quoted is None:
            keys.append(keys[-1]) if token[0] in "{[" else keys.pop()
        elif is_key is not None:
            keys[-1] = json.loads(quoted)
        else:
            new = new_text(keys[-1], json.loads(quoted) if "\\" in quoted else quoted[1:-1])
            if new is not None:
                pieces += [text[start : token.start(1)], json.dumps(new, ensure_ascii=False)]
                start = token.end(1)
    return "".join([*pieces, text[start:]])


def rewrite_metadata(
    data: bytes,
    references: References,
    *,
    new_id: str,
    replicate: int | None,
    parent: str | None,
    plan: str,
    old: str,
) -> bytes:
    """Return the metadata.json of a generation that moves: its new id, its parent's, its number,
    `previous_gen_id` and the plan's id; every other key and its place stay.

    `data` is an object (planning has read it). After a second migration `previous_gen_id` is a
    list, the oldest id first, so that every id that the generation ever had still leads to it.
    """
    document: dict[str, Any] = json.loads(data.decode())
    _replace_values(document, references)
    document["gen_id"] = new_id
    if parent is not None:
        document["parent_gen_id"] = parent
    document["replicate"] = replicate
    document[PREVIOUS] = _previous(document.get(PREVIOUS), old)
    document[PLAN] = plan
    return dump_json(document)


def restore_metadata(data: bytes, references: References, original: bytes) -> bytes:
    """Return metadata that was changed after `rewrite_metadata`, under the ids from before it.

    `references` lead back, and `original` is the metadata from before. What the migration set
    comes from there, every other key from `data`; what is not a JSON object comes back unchanged.
    """
    try:
        document, before = json.loads(data), json.loads(original)
    except (ValueError, RecursionError):
        return data
    if type(document) is not dict or type(before) is not dict:
        return data
    _replace_values(document, references)
    for key in ("gen_id", "replicate", PREVIOUS, PLAN):
        if key in before:
            document[key] = before[key]
        else:
            document.pop(key, None)
    return dump_json(document)


def rewrite_prose(data: bytes, references: References) -> bytes:
    """Return a text of any kind with the ids in it replaced; bytes that are not UTF-8 stay."""
    text = data.decode("utf-8", "surrogateescape")
    return references.new_prose(text).encode("utf-8", "surrogateescape")


def _previous(earlier: object, old: str) -> str | list[Any]:
    if type(earlier) is list:
        return [*earlier, old]
    return [earlier, old] if type(earlier) is str else old


def _replace_values(value: dict[str, Any], references: References) -> None:
    """Replace the references in a document in place, as `rewrite_json` does in a text."""
    for key, child in value.items():
        if type(child) is str:
            new = references.new_text(key, child)
            if new is not None:
                value[key] = new
        elif type(child) in (dict, list):
            text = json.dumps({key: child})
            value[key] = json.loads(_replace_strings(text, references.new_text))[key]


def dump_json(document: Mapping[str, Any]) -> bytes:
    """Return a document as the pipeline writes it: indent 2, non-ASCII kept, no newline."""
    try:
        return _dumped(document).encode("utf-8")
    except UnicodeEncodeError:  # half a surrogate pair can only be written as an escape
        return json.dumps(document, indent=2).encode("ascii")


def _dumped(document: Mapping[str, Any]) -> str:
    """Return `json.dumps(document, indent=2, ensure_ascii=False)`; three times as fast for metadata
    without nested values, because the standard encoder is slow as soon as it indents."""
    lines = []
    for key, value in document.items():
        if type(value) is str:
            lines.append(f"  {encode_basestring(key)}: {encode_basestring(value)}")
        elif type(value) is int:
            lines.append(f"  {encode_basestring(key)}: {value}")
        else:
            return json.dumps(document, indent=2, ensure_ascii=False)
    return "{\n" + ",\n".join(lines) + "\n}" if lines else "{}"


def rewrite_membership(data: bytes, mapping: IdMapping) -> bytes:
    """Return a membership.csv with its ids replaced; line ends and other columns stay.

    Raises:
        ValueError: it is not UTF-8, not CSV, or lacks the columns `stage` and `gen_id`.
    """
    text = data.decode("utf-8-sig")
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise ValueError(f"it is not CSV: {error}") from error
    if not rows or not {"stage", "gen_id"} <= set(rows[0]):
        raise ValueError("the columns stage and gen_id are not there")
    stage_at, own = rows[0].index("stage"), rows[0].index("gen_id")
    parent = rows[0].index("parent_gen_id") if "parent_gen_id" in rows[0] else None
    changed = False
    for row in rows[1:]:
        if len(row) <= max(stage_at, own):
            continue
        stage = row[stage_at]
        changed |= _replace_cell(row, own, mapping.get(stage, {}))
        if parent is not None and len(row) > parent:
            changed |= _replace_cell(row, parent, mapping.get(parent_stage(stage) or "", {}))
    return _dump_csv(rows, data) if changed else data


def _replace_cell(row: list[str], at: int, mapping: Mapping[str, str]) -> bool:
    new = mapping.get(row[at])
    if new is None:
        return False
    row[at] = new
    return True


def _dump_csv(rows: list[list[str]], like: bytes) -> bytes:
    out = io.StringIO(newline="")
    end = "\r\n" if b"\r\n" in like else "\n"
    csv.writer(out, lineterminator=end).writerows(rows)
    text = out.getvalue()
    if not like.endswith((b"\n", b"\r")):
        text = text.removesuffix(end)
    return (b"\xef\xbb\xbf" if like.startswith(b"\xef\xbb\xbf") else b"") + text.encode("utf-8")


def rewrite_selection(data: bytes, mapping: Mapping[str, str]) -> bytes:
    """Return a selection file with the ids on its lines replaced; comments and blanks stay.

    UnicodeDecodeError: it is not UTF-8.
    """
    text = data.decode("utf-8")
    return "".join(_selected(line, mapping) for line in text.splitlines(keepends=True)).encode()


def _selected(line: str, mapping: Mapping[str, str]) -> str:
    old = line.removeprefix("\ufeff").strip()  # a byte order mark stands before the first line
    return line.replace(old, mapping[old], 1) if old in mapping else line


def retarget(target: str, folder: str, root: str, mapping: IdMapping) -> str | None:
    """Return where a symbolic link must point after the migration; None: as before.

    `target` is the link's text, `folder` the path of the folder it lies in, from the data root at
    `root`. Only links that pass through gens/<stage>/<old id> change, in that one place.
    """
    inside = target.startswith(f"{root}/")
    place = [] if inside else folder.split("/")
    if target.startswith("/") and not inside:
        return None
    parts = target.split("/")
    first = root.count("/") + 1 if inside else 0
    for at, part in enumerate(parts[first:], start=first):
        if part == "..":
            if not place:
                return None  # it leads out of the data root
            place = place[:-1]
        elif part not in ("", "."):
            place = [*place, part]
        if len(place) == 3 and place[0] == "gens" and place[2] == part:
            new = mapping.get(place[1], {}).get(part)
            if new is not None:
                return "/".join([*parts[:at], new, *parts[at + 1 :]])
    return None
