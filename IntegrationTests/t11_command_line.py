# The martlet command: topics, produce and consume through a pipe, the cluster's state, and how it says no.

import os
import socket
import subprocess
import threading

import pytest

import cluster as nodes
from conditions import PATIENCE_SECONDS, wait_until


@pytest.fixture(scope="module")
def cluster(start_cluster):
    return start_cluster(count=3, timing_scale=4)


@pytest.fixture
def martlet(cluster):
    def run(*arguments, stdin=b"", code=0, bootstrap=cluster.bootstrap):
        environment = {**os.environ, "MARTLET_BOOTSTRAP": bootstrap}
        done = subprocess.run([nodes.BINARY, *arguments], input=stdin, capture_output=True, env=environment,
                              cwd=cluster.folder, timeout=PATIENCE_SECONDS, check=False)
        said = f"martlet {' '.join(arguments)}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        assert done.returncode == code, said
        return done
    return run


def test_topic_from_creation_to_deletion(martlet):
    made = martlet("topics", "create", "orders", "--partitions", "3", "--replication-factor", "3").stdout.decode()
    assert "orders" in made
    assert "orders" in martlet("topics", "list", "--names").stdout.decode().split("\n")
    described = martlet("topics", "describe", "orders").stdout.decode()
    rows = [line.split() for line in described.splitlines() if line.split()[:1] and line.split()[0].isdigit()]
    assert [row[0] for row in rows] == ["0", "1", "2"], described
    assert all(sorted(row[3].split(",")) == ["1", "2", "3"] for row in rows), described
    martlet("topics", "delete", "orders")
    wait_until("the topic is gone", lambda: "orders" not in martlet("topics", "list", "--names").stdout.decode().split("\n"))
    again = martlet("topics", "create", "orders", "--partitions", "1").stdout.decode()
    assert "orders" in again


def test_a_created_topic_that_exists_is_refused_with_a_sentence(martlet):
    martlet("topics", "create", "twice", "--partitions", "1")
    said = martlet("topics", "create", "twice", "--partitions", "1", code=1).stderr.decode()
    assert "twice" in said and "exist" in said.lower() and len(said.strip().splitlines()) == 1


def test_it_says_its_version(martlet):
    assert martlet("--version").stdout.decode().startswith("martlet 0.")


def test_lines_through_a_pipe(martlet):
    martlet("topics", "create", "lines", "--partitions", "1")
    lines = b"".join(b"%d grue\xc3\x9fe\n" % number for number in range(1000))
    martlet("produce", "lines", stdin=lines)
    assert martlet("consume", "lines", "--from-beginning", "--count", "1000").stdout == lines


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_keys_and_codecs(martlet, codec):
    topic = f"keys-{codec}"
    martlet("topics", "create", topic, "--partitions", "4")
    lines = [b"key-%d:value %d" % (number % 10, number) for number in range(200)]
    martlet("produce", topic, "--key-separator", ":", "--compression", codec, stdin=b"\n".join(lines) + b"\n")
    output = martlet("consume", topic, "--from-beginning", "--count", "200", "--key-separator", ":").stdout
    assert sorted(output.splitlines()) == sorted(lines)
    # Records of one key stay in one partition, in order.
    for key in {line.split(b":")[0] + b":" for line in lines}:
        read = [line for line in output.splitlines() if line.startswith(key)]
        assert read == [line for line in lines if line.startswith(key)]


def test_cluster_says_who_leads_and_that_all_is_well(martlet, cluster):
    said = martlet("cluster").stdout.decode()
    assert f"controller node {cluster.controller()}" in said
    assert "healthy" in said and "not healthy" not in said
    assert all(f"127.0.0.1:{node.address[1]}" in said for node in cluster.nodes.values())


def test_a_cluster_that_is_not_there_is_one_sentence(martlet):
    port = nodes.free_port()
    said = martlet("topics", "list", "--patience", "0", bootstrap=f"127.0.0.1:{port}", code=1).stderr.decode()
    assert str(port) in said and len(said.strip().splitlines()) == 1


def test_wrong_usage_is_exit_code_2(martlet):
    martlet("topics", "create", "no/slash", code=2)
    martlet("produce", code=2)
    martlet("no-such-command", code=2)


# What is printed and cannot be written is said; only a reader that has gone away is not.

def printed_to(path, arguments, cluster, stdin=b""):
    with open(path, "wb") as output:
        return subprocess.run([nodes.BINARY, *arguments], input=stdin, stdout=output, stderr=subprocess.PIPE,
                              env={**os.environ, "MARTLET_BOOTSTRAP": cluster.bootstrap}, cwd=cluster.folder,
                              timeout=PATIENCE_SECONDS, check=False)


@pytest.mark.parametrize("arguments", [
    ["topics", "list"], ["topics", "list", "--json"], ["consume", "full", "--from-beginning", "--count", "3"],
    ["consume", "full", "--from-beginning", "--count", "3", "--json"], ["cluster"], ["completion", "bash"],
    ["log", "dump", "cluster.yaml"], ["doctor"],
], ids=" ".join)
def test_a_full_disk_is_an_error(martlet, cluster, arguments):
    martlet("topics", "create", "full", "--partitions", "1", "--if-not-exists")
    martlet("produce", "full", stdin=b"1\n2\n3\n")
    done = printed_to("/dev/full", arguments, cluster)
    said = done.stderr.decode().strip()
    assert (done.returncode, said) == (1, "Error: cannot write the output: No space left on device")


@pytest.mark.parametrize("arguments", ["topics list", "produce full --json", "cluster"])
def test_a_closed_output_is_an_error(martlet, cluster, arguments):
    """Nor does what is printed go to a socket that got the free number."""
    martlet("topics", "create", "full", "--partitions", "1", "--if-not-exists")
    done = subprocess.run(["sh", "-c", f"echo 1 | {nodes.BINARY} {arguments} >&-"], capture_output=True, check=False,
                          env={**os.environ, "MARTLET_BOOTSTRAP": cluster.bootstrap}, timeout=PATIENCE_SECONDS)
    assert done.returncode == 1 and b"cannot write the output" in done.stderr, done


def test_a_closed_input_is_an_error(martlet, cluster):
    done = subprocess.run(["sh", "-c", f"{nodes.BINARY} produce full <&-"], capture_output=True, check=False,
                          env={**os.environ, "MARTLET_BOOTSTRAP": cluster.bootstrap}, timeout=PATIENCE_SECONDS)
    assert done.returncode == 1 and b"standard input is closed" in done.stderr, done


# How it says no

def test_letters_that_hold_an_h_are_not_help(martlet):
    said = martlet("topics", "delete", "nope", "-dash", code=2)
    assert said.stdout == b"" and b"-dash" in said.stderr
    assert b"USAGE" in martlet("topics", "delete", "-h").stdout


@pytest.mark.parametrize("bootstrap, words", [
    ("junk", "MARTLET_BOOTSTRAP: 'junk'"), ("localhost:0", "port"), ("http://localhost:9092", "URL"),
    ("localhost:99999", "port")])
def test_a_wrong_address_names_where_it_comes_from(martlet, bootstrap, words):
    said = martlet("topics", "list", bootstrap=bootstrap, code=2).stderr.decode()
    assert words in said and "MARTLET_BOOTSTRAP" in said
    assert "--bootstrap: '" in martlet("topics", "list", "--bootstrap", bootstrap, code=2).stderr.decode()


def test_a_host_without_an_address_is_one_sentence(martlet):
    said = martlet("topics", "list", bootstrap="no-such-host.invalid:9092", code=1).stderr.decode()
    assert "no-such-host.invalid does not resolve" in said and "martlet doctor" in said and "(" in said
    assert "Error(" not in said and "unknown(" not in said, said


@pytest.mark.parametrize("greeting", [b"220 mail.example ESMTP ready\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_a_port_that_speaks_something_else_is_one_sentence(martlet, greeting):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def greet():
            while True:
                try:
                    connection = server.accept()[0]
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(greeting * 20)
        threading.Thread(target=greet, daemon=True).start()
        address = "127.0.0.1:%d" % server.getsockname()[1]
        said = martlet("topics", "list", "--patience", "2", bootstrap=address, code=1).stderr.decode()
        server.shutdown(socket.SHUT_RDWR)
    assert address in said and "is that" in said and "martlet doctor" in said and len(said.splitlines()) == 1, said


@pytest.mark.parametrize("line, wanted", [
    ("log dump ld", "ldir"), ("start --config cl", "cluster.yaml"), ("produce t --file cl", "cluster.yaml")])
def test_completion_completes_file_names(martlet, cluster, tmp_path, line, wanted):
    (tmp_path / "ldir").mkdir()
    (tmp_path / "cluster.yaml").write_text("")
    script = tmp_path / "martlet.bash"
    script.write_bytes(martlet("completion", "bash").stdout)
    words = ["martlet", *line.split()]
    ask = f"""source {script}
COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}; COMP_LINE="{" ".join(words)}"; COMP_POINT=${{#COMP_LINE}}
$(complete -p martlet | sed 's/.*-F \\([^ ]*\\).*/\\1/') martlet {words[-1]} {words[-2]}
printf '%s\\n' "${{COMPREPLY[@]}}" """
    done = subprocess.run(["bash", "-c", ask], capture_output=True, cwd=tmp_path, check=True)
    assert wanted in done.stdout.decode().split(), done
