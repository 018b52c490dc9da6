"""Ids of the pipeline, without file access: the rollout, legacy ids, and minting."""
