"""The report: one self-contained page about where a store stands and what comes next.

`collect.gather` reads the store, `steps`, `coverage` and `moves` turn what it read into frozen
records, `document` renders them. Nothing here changes the data root and nothing here decides: each
number comes from the index, the planner, the audit or the migration's plan.
"""
