"""Read and write JSON: UTF-8, no repeated keys, no NaN, bounded in size and depth (RFC 8259)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from genid_store.fs.files import read_bytes

#: The size of the largest document, in bytes.
SIZE_LIMIT: Final = 64 * 2**20
#: The deepest nesting of arrays and objects.
DEPTH_LIMIT: Final = 100


def read_json(path: str | Path) -> Any:
    """Return the value of the JSON document in a file.

    Raises:
        OSError: as `fs.files.read_bytes`.
        ValueError: as `load_json`.
    """
    return load_json(read_bytes(path, limit=SIZE_LIMIT))


def load_json(data: bytes | str, *, allow_nan: bool = False) -> Any:
    """Return the value of a JSON document.

    `allow_nan` accepts NaN and the infinities, which Python writes; only for files of the host.

    ValueError: it is not UTF-8 or not JSON, begins with a byte order mark, repeats a key in an
    object, has NaN or an infinity that is not allowed, is nested deeper than DEPTH_LIMIT or longer
    than SIZE_LIMIT.
    """
    if len(data) > SIZE_LIMIT:
        raise ValueError(f"the document is longer than {SIZE_LIMIT} bytes")
    text = data.decode("utf-8") if isinstance(data, bytes) else data
    scan, checking = _WITH_NAN if allow_nan else _STRICT
    objects = text.count("{")
    # Most documents are objects without arrays, for which the scanner written in C is twice as fast
    # as a decoder that is given each object's pairs. Every member has a colon, so as many colons as
    # keys in the result means that no key was repeated, here or in an object within.
    if objects <= DEPTH_LIMIT and "[" not in text:
        try:
            value, end = scan(text, 0)
            if type(value) is dict and end == len(text):
                keys = len(value) if objects == 1 else _keys(value)
                if text.count(":") == keys:
                    return value
        except (StopIteration, ValueError):  # the other decoder's error says where and why
            pass
    if text.startswith("\ufeff"):
        raise ValueError("the document begins with a byte order mark; save it as plain UTF-8")
    try:
        value = checking.decode(text)
    except RecursionError:
        raise ValueError(_DEEP) from None
    if text.count("[") + objects > DEPTH_LIMIT:
        _check_depth(value)
    return value


def load_own(data: bytes) -> Any:
    """Return the value of a document that genid wrote and whose digest the caller has checked.

    Three times as fast as `load_json`. ValueError: it is not JSON.
    """
    return json.loads(data.decode())


def load_object(data: bytes | str, *, allow_nan: bool = False) -> dict[str, Any]:
    """Return the object in a JSON document. ValueError: as `load_json`, or it is not an object."""
    value = load_json(data, allow_nan=allow_nan)
    if type(value) is not dict:
        raise ValueError(f"the document is a {type(value).__name__}, not an object")
    return value


_DEEP: Final = f"the document is nested more than {DEPTH_LIMIT} deep"
_SCALARS: Final = {str, int, float, bool, type(None)}
_FLAT: Final = json.JSONEncoder(ensure_ascii=False, separators=(",\n  ", ": "))


def dump_object(document: Mapping[str, object]) -> bytes:
    """Return an object as JSON the way the pipeline writes it: indent 2, non-ASCII as it is."""
    if not document or not {type(value) for value in document.values()} <= _SCALARS:
        text = json.dumps(document, ensure_ascii=False, indent=2)
    else:  # the same text five times as fast: the encoder written in C does not support `indent`
        flat = _FLAT.encode(document)
        text = f"{{\n  {flat[1:-1]}\n}}"
    return text.encode(errors="backslashreplace")  # writes a lone surrogate as JSON escapes it


def finite(value: object) -> object:
    """Return a JSON value with NaN and the infinities, which JSON does not have, as texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, Mapping):
        return {key: finite(member) for key, member in value.items()}
    return [finite(element) for element in value] if isinstance(value, list | tuple) else value


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(DEPTH_LIMIT):
        level = [inner for outer in level for inner in _inner(outer)]
    if any(isinstance(inner, list | dict) for inner in level):
        raise ValueError(_DEEP)


def _keys(value: dict[str, Any]) -> int:
    """Return the number of keys of an object and of all objects in it."""
    objects = [member for member in value.values() if type(member) is dict]
    return len(value) + sum(map(_keys, objects)) if objects else len(value)


def _inner(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key given twice: {next(key for key in keys if keys.count(key) > 1)!r}")
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits} is too large for a number")
    return number


def _decoders(**options: Any) -> tuple[Callable[[str, int], Any], json.JSONDecoder]:
    plain: Any = json.JSONDecoder(**options)  # `scan_once` is the scanner written in C
    return plain.scan_once, json.JSONDecoder(object_pairs_hook=_unique, **options)


_STRICT: Final = _decoders(parse_constant=_no_constant, parse_float=_finite)
_WITH_NAN: Final = _decoders()
