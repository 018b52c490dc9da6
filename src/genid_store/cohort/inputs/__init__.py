"""What a cohort is planned from: the pipeline's tables, a selection, the combos."""
