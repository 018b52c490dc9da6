"""Make generations with the host's callable: reuse, leases, calls and atomic publishing.

The callable takes a `Request` and returns a text or `Generated`. Nothing here knows an LLM or
Dagster.
"""

from genid_store.generation.calling import NotPaid
from genid_store.generation.content import content_version
from genid_store.generation.once import Executor, recover
from genid_store.generation.pool import CONCURRENCY, obtain_all
from genid_store.generation.records import Generated, Generator, Kind, Outcome, Request
from genid_store.generation.status import has_content, state_of, wanted_ids

__all__ = [
    "CONCURRENCY",
    "Executor",
    "Generated",
    "Generator",
    "Kind",
    "NotPaid",
    "Outcome",
    "Request",
    "content_version",
    "has_content",
    "obtain_all",
    "recover",
    "state_of",
    "wanted_ids",
]
