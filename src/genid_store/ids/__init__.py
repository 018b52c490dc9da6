"""Ids without files: the rollout flag, legacy ids, and the seam that a host calls."""
