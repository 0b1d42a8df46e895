# docs/tour.md is what a newcomer sees today: its commands are run again and compared.

import os
import subprocess
import sys

import cluster as nodes


def test_the_tour_is_what_the_commands_print():
    done = subprocess.run(
        [sys.executable, os.path.join(nodes.ROOT, "dev/tour"), "check"], capture_output=True, text=True, timeout=300,
        env={**os.environ, "MARTLET_BIN": nodes.BINARY}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
