"""Make generations with the host's callable: reuse, leases, calls and atomic publishing.

The callable takes a `Request` and returns a text or `Generated`. Nothing here knows an LLM or
Dagster.
"""
