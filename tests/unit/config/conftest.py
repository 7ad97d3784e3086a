"""A settled number of examples for property tests."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# LLMPERF is the prefix of settings, so the knob has another name.
settings.register_profile(
    "config",
    max_examples=int(os.environ.get("CONFIG_TEST_EXAMPLES", "150")),
    deadline=2000 if "CONFIG_TEST_EXAMPLES" in os.environ else None,  # ms, for each example
    derandomize="CONFIG_TEST_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
settings.load_profile("config")
