"""The refreshed index of a data root, with progress while it is refreshed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from genid_store.catalog.index.query import StoreIndex
from genid_store.cli._output import progress_bar
from genid_store.fs.layout import DataRoot


@contextmanager
def fresh_index(root: DataRoot) -> Iterator[StoreIndex]:
    """Open the index of a data root, bring it up to date, and close it again at the end."""
    with StoreIndex.open(root) as index:
        with progress_bar("indexing") as progress:
            index.refresh(progress)
        yield index
