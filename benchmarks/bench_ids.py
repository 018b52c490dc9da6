"""One id, end to end: construct and validate a signature, derive its text.

Every call gets inputs that no call before it had: the same one again and again would flatter every
cache and table.
"""

import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

from blake3 import blake3

from benchmarks.harness import Case, Figure, Size, Skipped
from genid import Draft, canonical_bytes, gen_id

Cell = tuple[str, str, str, int]

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://example.org/generations")
_fresh = itertools.count()
_COUNT = 1_000  # a few milliseconds a call


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


def named(cell: Cell) -> dict[str, Any]:
    """Return the fields as the mapping that a serializer takes."""
    combo, template, model, replicate = cell
    return {
        "combo_id": combo,
        "llm_model_id": model,
        "replicate": replicate,
        "template_id": template,
    }


def ours(cells: list[Cell]) -> None:
    """Construct, validate, derive."""
    for combo, template, model, replicate in cells:
        gen_id(Draft(combo_id=combo, template_id=template, llm_model_id=model, replicate=replicate))


def by_uuid5(cells: list[Cell]) -> None:
    """The usual short-cut: joined fields into a name-based UUID."""
    for combo, template, model, replicate in cells:
        str(uuid.uuid5(_NAMESPACE, f"{combo}|{template}|{model}|{replicate}"))


def by_json(cells: list[Cell]) -> None:
    """Sorted JSON and SHA-256."""
    for cell in cells:
        sha256(json.dumps(named(cell), sort_keys=True).encode()).hexdigest()


def cases(size: Size) -> Iterator[Case | Figure]:
    """Yield the same work against each peer."""
    if size == "long":
        return
    rounds = 80 if size == "full" else 25
    yield _case("str(uuid5)", by_uuid5, rounds, goal=1.3, bound=0.9)
    yield _case("rfc8785 + SHA-256", _by_rfc8785(), rounds, goal=3, bound=2)
    yield _case("json.dumps + SHA-256", by_json, rounds, goal=1, bound=0.85)
    yield _case("TypeID.from_uuid(uuid5)", _by_typeid(), rounds, goal=1, bound=0.85)
    yield _case("dask tokenize", _by_dask(), rounds, goal=1, bound=0.85)
    yield _case("joblib.hash", _by_joblib(), rounds, goal=4, bound=4)


def _case(
    peer_name: str, peer: Callable[[list[Cell]], None], rounds: int, *, goal: float, bound: float
) -> Case:
    """Give every contender the same fresh cells in each round."""
    work: dict[str, Any] = {}

    def before() -> None:
        work["cells"] = fresh_cells(_COUNT)
        work["bytes"] = [
            canonical_bytes(
                Draft(combo_id=c, template_id=template, llm_model_id=model, replicate=replicate)
            )
            for c, template, model, replicate in work["cells"]
        ]

    def limit() -> None:
        for data in work["bytes"]:
            blake3(data).digest(16)

    return Case(
        name="one id",
        peer_name=peer_name,
        limit_name="bare blake3(b).digest(16)",
        ours=lambda: ours(work["cells"]),
        peer=lambda: peer(work["cells"]),
        limit=limit,
        before=before,
        better="speed",
        goal=goal,
        bound=bound,
        items=_COUNT,
        rounds=rounds,
        clock="cpu",
    )


def _by_rfc8785() -> Callable[[list[Cell]], None]:
    try:
        import rfc8785
    except ImportError as error:
        raise Skipped("rfc8785 is not installed") from error

    def peer(cells: list[Cell]) -> None:
        for cell in cells:
            sha256(rfc8785.dumps(named(cell))).hexdigest()

    return peer


def _by_typeid() -> Callable[[list[Cell]], None]:
    try:
        from typeid import TypeID
    except ImportError as error:
        raise Skipped("typeid-python is not installed") from error
    from_uuid: Callable[..., object] = TypeID.from_uuid

    def peer(cells: list[Cell]) -> None:
        for combo, template, model, replicate in cells:
            name = f"{combo}|{template}|{model}|{replicate}"
            str(from_uuid(uuid.uuid5(_NAMESPACE, name), "d"))

    return peer


def _by_dask() -> Callable[[list[Cell]], None]:
    try:
        from dask.base import tokenize
    except ImportError as error:
        raise Skipped("dask is not installed") from error

    def peer(cells: list[Cell]) -> None:
        for cell in cells:
            tokenize(named(cell))

    return peer


def _by_joblib() -> Callable[[list[Cell]], None]:
    try:
        import joblib
    except ImportError as error:
        raise Skipped("joblib is not installed") from error

    def peer(cells: list[Cell]) -> None:
        for cell in cells:
            joblib.hash(named(cell))

    return peer
