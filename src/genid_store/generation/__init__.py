"""Make generations with a callable of the host's: paths, skipping, claims and atomic writing.

Knows no LLM and no Dagster. `Request` goes in, text or `Generated` comes out.
"""

from genid_store.generation.generate import Maker, content_version, recover
from genid_store.generation.pool import CONCURRENCY, make_all
from genid_store.generation.records import Generated, Generator, Kind, Outcome, Request
from genid_store.generation.status import has_content, is_ready, is_wanted, state_of

__all__ = [
    "CONCURRENCY",
    "Generated",
    "Generator",
    "Kind",
    "Maker",
    "Outcome",
    "Request",
    "content_version",
    "has_content",
    "is_ready",
    "is_wanted",
    "make_all",
    "recover",
    "state_of",
]
