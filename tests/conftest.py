"""Settings that all tests share."""

import os

from hypothesis import HealthCheck, settings

# Examples are drawn from a fixed seed, so that a red run can be repeated; timing is no verdict.
settings.register_profile(
    "mfal",
    deadline=None,
    derandomize=True,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("mfal")

os.environ.setdefault("MPLBACKEND", "Agg")
