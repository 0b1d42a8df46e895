# A martlet command that runs beside a test: its output as it comes, lines typed into it, signals, and always its end.

import os
import signal
import subprocess
import tempfile
import threading

import pytest

import cluster as nodes
from conditions import PATIENCE_SECONDS, wait_until


class Background:
    """Standard output is read by a thread, so that the command never waits for the test; errors go to a file."""

    def __init__(self, bootstrap, folder, *arguments):
        self.words = " ".join(arguments)
        self.lines = []
        self.errors = tempfile.TemporaryFile()
        environment = {**os.environ, "MARTLET_BOOTSTRAP": bootstrap, "SWIFT_BACKTRACE": "enable=no"}
        self.process = subprocess.Popen(
            [nodes.BINARY, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
            cwd=folder, env=environment, start_new_session=True, preexec_fn=nodes.die_with_parent)
        nodes.running.add(self.process)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        nodes.running.discard(self.process)
        try:
            self.process.stdin.close()
        except OSError:
            pass
        self.reader.join()
        self.process.stdout.close()
        self.errors.close()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def write(self, content):
        self.process.stdin.write(content)
        self.process.stdin.flush()

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def is_running(self):
        return self.process.poll() is None

    def wait_lines(self, count):
        """Until so many lines are printed; a command that ends before is a failure at once."""
        def are_there():
            if len(self.lines) < count and not self.is_running():
                pytest.fail(f"martlet {self.words} ended with {self.process.returncode}: {self.said()}")
            return len(self.lines) >= count
        wait_until(f"martlet {self.words} prints {count} lines", are_there)
        return self.lines

    def ended(self, code=0):
        """Waits for the end, asserts the exit code and returns what was printed to standard error."""
        found = self.process.wait(timeout=PATIENCE_SECONDS)
        self.reader.join(timeout=PATIENCE_SECONDS)
        said = self.said()
        assert code is None or found == code, f"martlet {self.words}: exit {found}: {said}"
        return said

    def said(self):
        """Standard error so far."""
        return os.pread(self.errors.fileno(), 1 << 20, 0).decode()
