# SPDX-License-Identifier: Apache-2.0
"""Waiting for what comes in its own time. What every suite shares."""

import time

# Emulated machines on a busy host: generous, because a wait that passes takes no time.
TIMEOUT = 120


def until(condition, what, timeout=TIMEOUT):
    """The first true value of condition()."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {timeout} s for {what}"
        time.sleep(0.02)
