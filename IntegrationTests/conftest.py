# Fixtures: clusters that always end, clients that may be missing, and the logs of the nodes beside every failure.

import os
import shutil

import pytest

import cluster as nodes
from clients.java import JavaProcess
from members import compile_java

started = []


@pytest.fixture(scope="session", autouse=True)
def binary():
    if not os.access(nodes.BINARY, os.X_OK):
        pytest.exit(f"{nodes.BINARY} is not there: build it (make build), or say where it is with MARTLET_BIN", 1)
    yield nodes.BINARY
    nodes.end_all()


@pytest.fixture(scope="module")
def start_cluster(tmp_path_factory):
    """start_cluster(count, defaults, timing_scale): a cluster that stands, for as long as the module runs."""
    made = []

    def start(**options):
        made.append(nodes.Cluster(tmp_path_factory.mktemp("cluster"), **options))
        started.append(made[-1])
        return made[-1].start()
    yield start
    for one in made:
        one.end()
        started.remove(one)


@pytest.fixture
def new_cluster(tmp_path):
    """new_cluster(count, defaults, timing_scale): the same, for one test; `.start()` is the test's."""
    made = []

    def make(**options):
        made.append(nodes.Cluster(tmp_path / f"cluster-{len(made)}", **options))
        started.append(made[-1])
        return made[-1]
    yield make
    for one in made:
        one.end()
        started.remove(one)


@pytest.fixture(scope="session")
def kcat():
    """kcat comes from the system's packages. Where it is missing its tests are skipped, which fails under CI=true."""
    need("kcat", "apt-get install kcat")


@pytest.fixture(scope="session")
def java(tmp_path_factory):
    need("javac", "apt-get install openjdk-17-jdk-headless")
    process = JavaProcess(str(tmp_path_factory.mktemp("java")))
    yield process
    process.close()


@pytest.fixture(scope="session")
def member_classes(tmp_path_factory):
    """The folder of JavaMember's classes: each member is a JVM of its own."""
    need("javac", "apt-get install openjdk-17-jdk-headless")
    return compile_java(tmp_path_factory.mktemp("member-classes"))


def need(program, remedy):
    if shutil.which(program):
        return
    sentence = f"{program} is not installed: {remedy}"
    if os.environ.get("CI") == "true":
        pytest.fail(sentence)
    pytest.skip(sentence)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for one in started:
            report.sections.append((f"nodes of {one.folder}", one.tails()))
