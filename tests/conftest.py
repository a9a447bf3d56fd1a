"""For all tests."""

import signal

from hypothesis import HealthCheck, settings

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell that runs the tests in the background ignores

untimed = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}  # the first call of a kernel compiles it
settings.register_profile("untimed", **untimed)
settings.load_profile("untimed")
