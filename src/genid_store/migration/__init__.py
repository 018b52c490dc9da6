"""Move a store to deterministic ids: planned, built beside the live tree, verified, exchanged.

One direction of data: `scan` reads the store, `number` decides the new ids, `plan` writes what will
be done, `build` makes it beside the live tree, `verify` looks at what was built, `swap` exchanges
the two trees, `rollback` fills up the former one before they are exchanged again. `run` is what
others call. Nothing here knows of Dagster.
"""
