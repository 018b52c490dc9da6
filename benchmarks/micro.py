"""The contenders for one id.

Every call gets inputs that no call before it had: the same one again and again would flatter every
cache and table.
"""

import itertools
import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Any

from blake3 import blake3

from genid import Draft, gen_id

Cell = tuple[str, str, str, int]
Work = Callable[[Sequence[Any]], None]

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://example.org/generations")
_fresh = itertools.count()


def fresh_cells(count: int) -> list[Cell]:
    """Return fields of drafts that no earlier call returned."""
    return [
        (
            f"combo_v1_{at:012x}",
            f"creative-synthesis-v{at % 10}",
            ("gemini_25_pro", "sonnet-4", "deepseek_r1_p")[at % 3],
            at % 4 + 1,
        )
        for at in itertools.islice(_fresh, count)
    ]


def draft(cell: Cell) -> Draft:
    """Return the signature of a cell."""
    combo, template, model, replicate = cell
    return Draft(combo_id=combo, template_id=template, llm_model_id=model, replicate=replicate)


def named(cell: Cell) -> dict[str, Any]:
    """Return the fields as the mapping that a serializer takes."""
    combo, template, model, replicate = cell
    return {
        "combo_id": combo,
        "llm_model_id": model,
        "replicate": replicate,
        "template_id": template,
    }


def genid() -> Work:
    """Construct, validate, derive."""

    def work(cells: Iterable[Cell]) -> None:
        for combo, template, model, replicate in cells:
            gen_id(
                Draft(combo_id=combo, template_id=template, llm_model_id=model, replicate=replicate)
            )

    return work


def by_blake3() -> Work:
    """The limit: nothing but hash canonical bytes that are there already."""

    def work(ready: Iterable[bytes]) -> None:
        for data in ready:
            blake3(data).digest(16)

    return work


def by_uuid5() -> Work:
    """The usual short-cut: joined fields into a name-based UUID."""

    def work(cells: Iterable[Cell]) -> None:
        for combo, template, model, replicate in cells:
            str(uuid.uuid5(_NAMESPACE, f"{combo}|{template}|{model}|{replicate}"))

    return work


def by_typeid() -> Work:
    """The same as a TypeID."""
    from typeid import TypeID

    from_uuid: Callable[..., object] = TypeID.from_uuid

    def work(cells: Iterable[Cell]) -> None:
        for combo, template, model, replicate in cells:
            name = f"{combo}|{template}|{model}|{replicate}"
            str(from_uuid(uuid.uuid5(_NAMESPACE, name), "d"))

    return work


def by_json() -> Work:
    """Sorted JSON and SHA-256."""

    def work(cells: Iterable[Cell]) -> None:
        for cell in cells:
            sha256(json.dumps(named(cell), sort_keys=True).encode()).hexdigest()

    return work


def by_rfc8785() -> Work:
    """Canonical JSON by a library, and SHA-256."""
    import rfc8785

    def work(cells: Iterable[Cell]) -> None:
        for cell in cells:
            sha256(rfc8785.dumps(named(cell))).hexdigest()

    return work


def by_dask() -> Work:
    """A general hasher of Python values."""
    from dask.base import tokenize

    def work(cells: Iterable[Cell]) -> None:
        for cell in cells:
            tokenize(named(cell))

    return work


def by_joblib() -> Work:
    """Another."""
    import joblib

    def work(cells: Iterable[Cell]) -> None:
        for cell in cells:
            joblib.hash(named(cell))

    return work


#: What is timed, by the name that the table shows; each is imported where it is timed.
CONTENDERS: dict[str, Callable[[], Work]] = {
    "genid": genid,
    "bare blake3(b).digest(16)": by_blake3,
    "str(uuid5)": by_uuid5,
    "rfc8785 + SHA-256": by_rfc8785,
    "json.dumps + SHA-256": by_json,
    "TypeID.from_uuid(uuid5)": by_typeid,
    "dask tokenize": by_dask,
    "joblib.hash": by_joblib,
}
