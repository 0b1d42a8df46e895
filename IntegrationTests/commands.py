# Runs martlet in a pipe, as scripts do, against one cluster; `terminal.py` runs it as people do.

import json
import os
import subprocess

import cluster as nodes
from conditions import PATIENCE_SECONDS
from terminal import on_terminal


class Martlet:
    """The command with a bootstrap address in its environment, in a folder of its own."""

    def __init__(self, bootstrap, folder):
        self.bootstrap = bootstrap
        self.folder = str(folder)

    def environment(self, bootstrap=None):
        return {**os.environ, "MARTLET_BOOTSTRAP": bootstrap or self.bootstrap, "SWIFT_BACKTRACE": "enable=no"}

    def run(self, *arguments, stdin=b"", code=0, bootstrap=None):
        """In a pipe; asserts the exit code (one, or one of several), and that what is printed there has no colours."""
        done = subprocess.run([nodes.BINARY, *arguments], input=stdin, capture_output=True, cwd=self.folder,
                              env=self.environment(bootstrap), timeout=PATIENCE_SECONDS, check=False)
        said = f"martlet {' '.join(arguments)}: exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert done.returncode in (code if isinstance(code, tuple) else (code,)), said
        assert b"\x1b" not in done.stdout + done.stderr, said
        return done

    def text(self, *arguments, **options):
        return self.run(*arguments, **options).stdout.decode()

    def complaint(self, *arguments, code=1, **options):
        """The one sentence on standard error of a command that fails."""
        said = self.run(*arguments, code=code, **options).stderr.decode().strip()
        assert len(said.splitlines()) == 1 and said.startswith("Error: "), said
        return said

    def json(self, *arguments, **options):
        return json.loads(self.text(*arguments, "--json", **options))

    def json_lines(self, *arguments, **options):
        return [json.loads(line) for line in self.text(*arguments, "--json", **options).splitlines()]

    def screen(self, *arguments, code=0, bootstrap=None, environment=None, columns=80):
        """On a terminal of 80 columns; asserts the exit code."""
        screen = on_terminal(arguments, {"MARTLET_BOOTSTRAP": bootstrap or self.bootstrap, **(environment or {})},
                             self.folder, columns)
        assert screen.code == code, f"martlet {' '.join(arguments)}: exit {screen.code}\n{screen.text}"
        return screen


def table_rows(text, first_column):
    """The rows of a table as {column: cell}, for tables whose cells hold no blanks; by the heading's words."""
    lines = text.splitlines()
    start = next(index for index, line in enumerate(lines) if line.split()[:1] == [first_column])
    heading = lines[start].split()
    rows = []
    for line in lines[start + 1:]:
        cells = line.split()
        if len(cells) < len(heading):
            break
        rows.append(dict(zip(heading, cells)))
    return rows
