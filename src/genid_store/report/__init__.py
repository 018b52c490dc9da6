"""The rollout report: one self-contained page about where a store stands and what comes next.

One direction of data: `gather` reads the store, the pure modules (`standing`, `steps`, `coverage`,
`faults`, `moves`) turn what it read into frozen records, `page` renders them. Nothing here changes
the data root, and nothing here decides: every number comes of the index, the planner, the audit or
the migration's plan.
"""
