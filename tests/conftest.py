"""For all tests."""

import signal

from hypothesis import settings

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell that runs the tests in the background ignores

settings.register_profile("untimed", deadline=None)  # the first call of a kernel compiles it
settings.load_profile("untimed")
