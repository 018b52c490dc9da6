"""Move a store to deterministic ids: planned, journalled, resumable, reversible.

One direction of data: `scan` reads the store, `numbering` decides the new ids, `plan` writes what
will be done, `execute` does it, `verify` looks again, `rollback` undoes it, `finalize` gives up the
way back. Nothing here knows of Dagster.
"""
