"""Make generations with a callable of the host's: paths, skipping, claims and atomic writing.

Knows no LLM and no Dagster. `Request` goes in, text or `Generated` comes out.
"""

from genid_dagster_adapter.generation.making import Maker, content_version, recover
from genid_dagster_adapter.generation.records import Generated, Generator, Kind, Outcome, Request
from genid_dagster_adapter.generation.runner import CONCURRENCY, make_all
from genid_dagster_adapter.generation.state import has_content, is_ready, is_wanted, state_of

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
