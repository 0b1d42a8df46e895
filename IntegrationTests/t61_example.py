# The example is a package of its own that depends on this one by path: it builds, and does what it says.

import os
import subprocess

import pytest

import cluster as nodes

PACKAGE = os.path.join(nodes.ROOT, "Examples/Telemetry")
# Beside the main build, so that the two do not undo each other; built with what a user would type.
SCRATCH = os.path.join(nodes.ROOT, ".build/examples")


@pytest.fixture(scope="module")
def example():
    # SwiftPM plans anew when the manifest is younger, not when a source file came to a package that it depends on.
    os.utime(os.path.join(PACKAGE, "Package.swift"))
    done = subprocess.run(
        ["swift", "build", "--package-path", PACKAGE, "--scratch-path", SCRATCH], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1_800, check=False)
    assert done.returncode == 0, done.stdout[-5_000:]
    return os.path.join(SCRATCH, "debug/Telemetry")


def test_the_example_writes_and_reads(example, start_cluster):
    cluster = start_cluster(count=1)
    for _ in range(2):
        done = subprocess.run([example, cluster.bootstrap], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr + cluster.tails()
        lines = [line for line in done.stdout.splitlines() if line.startswith("vehicle-")]
        assert lines == [f"vehicle-{number}: 100 reports" for number in range(10)], done.stdout
