"""`Store.once` on a text that is there, against reading the file and against what one would use.

Texts of about 2 kB, 500 of them, on a tmpfs; every round asks for each of them once.
"""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.bench_cohort import memory_folder
from benchmarks.harness import Case, Figure, Size, Skipped
from benchmarks.micro import Cell, draft, fresh_cells
from genid import gen_id
from genid_store import Store
from genid_store.fs.layout import PARSED

_COUNT = 500
_TEXT = "a story about tides and the people who count them\n" * 40


def cases(size: Size) -> Iterator[Case | Figure]:
    """Yield a hit against the bare file, a `joblib.Memory` hit and a `diskcache` hit."""
    if size == "long":
        return
    try:
        import diskcache
        import joblib
    except ImportError as error:
        raise Skipped(f"{error.name} is not installed") from error
    cells = fresh_cells(_COUNT)
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        store = Store.open(Path(folder, "store"))
        store.once_all(map(draft, cells), lambda request: _TEXT)
        memory = joblib.Memory(Path(folder, "joblib"), verbose=0)
        remembered = memory.cache(_generate)
        cache = diskcache.Cache(str(Path(folder, "diskcache")))
        for cell in cells:
            remembered(*cell)
            cache[cell] = _TEXT
        drafts = store.root.stage("draft")
        files = [str(drafts / str(gen_id(draft(cell))) / PARSED) for cell in cells]
        peers: tuple[tuple[str, Callable[[], object], float, float], ...] = (
            ("open and read of its file", partial(_read, files), 2, 3.2),
            ("joblib.Memory", partial(_each, remembered, cells), 0.5, 0.5),
            ("diskcache", partial(_look_up, cache, cells), 1, 1.3),
        )
        for peer_name, peer, goal, bound in peers:
            yield Case(
                name="once, where the text is there",
                peer_name=peer_name,
                ours=partial(_once, store, cells),
                peer=peer,
                better="cost",
                goal=goal,
                bound=bound,
                items=_COUNT,
                rounds=21 if size == "full" else 9,
            )
        cache.close()


def _once(store: Store, cells: list[Cell]) -> None:
    for cell in cells:
        store.once(draft(cell), _never)


def _never(request: object) -> str:
    raise AssertionError("the text is there")


def _generate(combo: str, template: str, model: str, replicate: int) -> str:
    return _TEXT


def _read(files: list[str]) -> None:
    for name in files:
        with open(name, encoding="utf-8") as file:
            file.read()


def _each(remembered: Callable[..., str], cells: list[Cell]) -> None:
    for cell in cells:
        remembered(*cell)


def _look_up(cache: dict[Cell, str], cells: list[Cell]) -> None:
    for cell in cells:
        cache[cell]
