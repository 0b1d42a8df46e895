# make bench: the whole lab in a short form, in some ten minutes. It runs the parts one after the other, each as a
# program of its own with its yardsticks beside it, and prints one table: what is aimed at, what was measured, and
# whether the aim holds.
#
# Everything that the parts measured goes into docs/reports/bench.json. Parts that are left out this time stay there as
# they were, with their own date, commit and load.

import argparse
import json
import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "IntegrationTests"))

from aims import PARTS  # noqa: E402
from cluster import die_with_parent  # noqa: E402

REPORT = os.path.join(ROOT, "docs/reports/bench.json")
PATIENCE_S = 600


def run(*words, **settings):
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, **settings)


def commit():
    changed = run("git", "status", "--porcelain", "--", "Sources", "Package.swift", "Benchmarks").stdout.strip()
    return run("git", "rev-parse", "--short=12", "HEAD").stdout.strip() + (", changed" if changed else "")


def build(parts):
    for product in sorted({product for name in parts for product in PARTS[name].products}):
        print(f"building {product}", file=sys.stderr, flush=True)
        done = run("swift", "build", "-c", "release", "--product", product)
        if done.returncode:
            sys.exit(done.stdout + done.stderr)


def measure(part, arguments):
    """What goes into the report: the part's own JSON, and how it was come by."""
    command = [word.format(python=sys.executable, folder=arguments.folder) for word in part.command]
    row = {"commit": commit(), "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
           "command": " ".join(part.command).replace("{python} ", "").replace(" {folder}", " FOLDER"),
           "load_before": os.getloadavg()[0]}
    began = time.monotonic()
    try:
        done = run(*command, timeout=PATIENCE_S, preexec_fn=die_with_parent)
        complaint = done.stderr[-2_000:] if done.returncode else ""
    except subprocess.TimeoutExpired:
        complaint = f"not within {PATIENCE_S} s"
    row |= {"seconds": round(time.monotonic() - began), "load_after": os.getloadavg()[0]}
    if complaint:
        return row | {"failed": complaint, "aims": []}
    result = part.read(done.stdout)
    return row | {"aims": [aim.row() for aim in part.aims(result)], "result": result}


def print_table(rows, before):
    print(f"\n{'part':<15}{'aim':<70}{'limit':>9}{'measured':>10}")
    for name, row in rows.items():
        for aim in row["aims"]:
            sign = "≤" if aim["is_most"] else "≥"
            limit, found = (f"{aim[key]:,.{aim['digits']}f}" for key in ("limit", "measured"))
            verdict = "holds" if aim["holds"] else "MISSED"
            print(f"{name:<15}{aim['what']:<70}{f'{sign} {limit}':>9}{found:>10}  {verdict}")
        if "failed" in row:
            print(f"{name:<15}failed: {row['failed'].strip().splitlines()[-1]}")
        elif not row["aims"]:
            print(f"{name:<15}no aim of its own; its figures are in the report")
    aims = [aim for row in rows.values() for aim in row["aims"]]
    print(f"\n{sum(aim['holds'] for aim in aims)} of {len(aims)} aims hold. Load average {before:.1f} before and "
          f"{os.getloadavg()[0]:.1f} after, on {os.cpu_count()} processors; above 2 the figures say little.")


def save(path, rows):
    """After every part: a run that is ended loses no more than the one under way."""
    found = {"bench": "lab", "parts": {}}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    found["parts"] = {name: rows.get(name, found["parts"].get(name)) for name in PARTS
                      if name in rows or name in found["parts"]}
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(found, file, indent=1)
        file.write("\n")


def names(text):
    found = text.split(",")
    if unknown := set(found) - set(PARTS):
        raise argparse.ArgumentTypeError(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return found


def main():
    parser = argparse.ArgumentParser(description="The whole benchmark lab in a short form.")
    parser.add_argument("--only", type=names, default=list(PARTS), metavar="PART,...", help=", ".join(PARTS))
    parser.add_argument("--without", type=names, default=[], metavar="PART,...")
    parser.add_argument("--report", default=REPORT)
    parser.add_argument("--folder", default="/tmp", help="where the nodes' data lies meanwhile")
    parser.add_argument("--no-build", action="store_true", help="take the programs that are there")
    arguments = parser.parse_args()
    chosen = [name for name in PARTS if name in arguments.only and name not in arguments.without]
    if not arguments.no_build:
        build(chosen)
    rows, before = {}, os.getloadavg()[0]
    for name in chosen:
        print(f"{name} …", file=sys.stderr, end=" ", flush=True)
        rows[name] = measure(PARTS[name], arguments)
        print(f"{rows[name]['seconds']} s{', failed' if 'failed' in rows[name] else ''}", file=sys.stderr, flush=True)
        save(arguments.report, rows)
    print_table(rows, before)
    if any("failed" in row for row in rows.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
