"""A cohort: tables and a selection in, membership rows out, then one writer."""
