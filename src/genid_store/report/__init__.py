"""The report: one self-contained page about the state of a store and what to do next.

`collect.gather` reads the store; `steps`, `coverage` and `without_v1` make its records; `page`
renders them. The report changes nothing in the data root and has no rules of its own: every number
comes from the index, the planner or the audit.
"""
