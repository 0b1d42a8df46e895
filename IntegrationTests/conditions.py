# Waiting for what must become true, with a deadline and never for a fixed time.

import time

# Generous: the machines are shared, and a condition that comes true is noticed at once.
PATIENCE_SECONDS = 90


def wait_until(what, probe, seconds=PATIENCE_SECONDS):
    """Asks `probe` until it gives something true and returns that; a failure shows what it last gave or raised."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            last = probe()
            if last:
                return last
        except Exception as error:  # pylint: disable=broad-except
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}; last: {last!r}")
        time.sleep(0.02)
