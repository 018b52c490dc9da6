"""How hard the laws are tried: a busy machine is no failure, and `--long` tries ten times more."""

import sys

from hypothesis import HealthCheck, settings

settings.register_profile(
    "laws",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=1_000 if "--long" in sys.argv else 100,
)
settings.load_profile("laws")
