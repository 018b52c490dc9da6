"""Deterministic generation ids in a cohort pipeline: planning, the store on disk, Dagster.

Nothing is imported here: `genid_dagster_adapter.cohort` and `.store` work without Dagster, and
importing Dagster costs seconds that `genid --help` must not pay.
"""
