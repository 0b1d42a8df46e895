# Many connections to one node: what each costs in memory, what they cost while idle, and how long ApiVersions takes on
# all of them.

import resource
import select
import socket
import time

import wire

IN_FLIGHT = 200  # connects under way at once: below the listener's backlog


def raise_limit():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(soft, hard)


def open_all(address, count):
    """Connected sockets, and the seconds it took."""
    began, sockets = time.monotonic(), []
    while len(sockets) < count:
        some = []
        for _ in range(min(IN_FLIGHT, count - len(sockets))):
            one = socket.socket()
            one.setblocking(False)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.connect_ex(address)
            some.append(one)
        for one in some:
            wait_writable(one)
            code = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            assert code == 0, f"connection {len(sockets)}: error {code}"
            sockets.append(one)
    return sockets, time.monotonic() - began


def wait_writable(one):
    poll = select.poll()
    poll.register(one, select.POLLOUT)
    assert poll.poll(30_000), "a connection was not taken within 30 s"


def api_versions(sockets):
    """Asks on all and waits for every whole answer; the seconds until the last."""
    request = wire.frame(wire.API_VERSIONS, 3, 7, wire.compact_string("scale") + wire.compact_string("1") + b"\0")
    poll, missing = select.epoll(), {}
    began = time.monotonic()
    for one in sockets:
        assert one.send(request) == len(request)
        missing[one.fileno()] = (one, bytearray())
        poll.register(one.fileno(), select.EPOLLIN)
    while missing:
        events = poll.poll(30)
        assert events, f"{len(missing)} connections got no answer"
        for descriptor, _ in events:
            one, content = missing[descriptor]
            part = one.recv(1 << 16)
            assert part, "the node closed a connection"
            content += part
            if len(content) >= 4 and len(content) - 4 >= int.from_bytes(content[:4], "big"):
                del missing[descriptor]
                poll.unregister(descriptor)
    seconds = time.monotonic() - began
    poll.close()
    return seconds
