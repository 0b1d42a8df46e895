# Runs a command as a person would: on a pseudo-terminal of 80 x 24, with whatever it prints collected until it ends.

import errno
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import cluster as nodes
from conditions import PATIENCE_SECONDS

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
COLUMNS = 80


class Screen:
    """What a command left on the terminal, both streams, and its exit code."""

    def __init__(self, code, text):
        self.code = code
        self.raw = text.replace("\r\n", "\n")
        self.text = COLOUR.sub("", self.raw)
        self.lines = self.text.splitlines()

    @property
    def is_coloured(self):
        return bool(COLOUR.search(self.raw))

    def assert_fits(self):
        wide = [line for line in self.lines if len(line) > COLUMNS]
        assert not wide, f"wider than {COLUMNS} columns: {wide}"


def on_terminal(arguments, environment=None, folder=None, columns=COLUMNS):
    """Runs martlet with `arguments` on a terminal of its own and waits for its end."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    plain = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        [nodes.BINARY, *arguments], stdin=slave, stdout=slave, stderr=slave, cwd=folder, start_new_session=True,
        preexec_fn=nodes.die_with_parent, env={**plain, "TERM": "xterm", **(environment or {})})
    os.close(slave)
    nodes.running.add(process)
    try:
        output = read_to_end(master)
        code = process.wait(timeout=PATIENCE_SECONDS)
    finally:
        os.close(master)
        if process.poll() is None:
            process.kill()
            process.wait()
        nodes.running.discard(process)
    return Screen(code, output.decode())


def read_to_end(master):
    output, deadline = b"", time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if not select.select([master], [], [], 0.5)[0]:
            continue
        try:
            part = os.read(master, 65_536)
        except OSError as error:
            # The other side is closed: the command has ended.
            if error.errno == errno.EIO:
                return output
            raise
        if not part:
            return output
        output += part
    raise AssertionError(f"the command did not end within {PATIENCE_SECONDS} s: {output[-2000:]!r}")
