# `make soak-power`: 200 power cuts, twenty on each cluster. Can be ended and begun again: rounds that are done are not repeated.

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

import cluster as nodes
import power
from power_cuts import DEFAULTS, TARGETS, Powered

ROUND_CUTS = 20
STATE = os.path.join(nodes.ROOT, ".build", "soak-power.json")


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--cuts", type=int, default=200)
    options.add_argument("--seed", type=int, default=1000, help="of the first round; the others count up from it")
    options.add_argument("--minutes", type=float, default=40, help="no round begins after this")
    options.add_argument("--report", default=os.path.join(nodes.ROOT, "docs", "reports", "power.json"))
    options = options.parse_args()
    os.chdir(os.path.join(nodes.ROOT, "IntegrationTests"))
    library = power.build_disk(tempfile.mkdtemp(prefix="power-"))
    began, tested = time.monotonic(), commit()
    done = finished_rounds(tested)
    for number in range(-(-options.cuts // ROUND_CUTS)):
        seed = options.seed + number
        if any(one["seed"] == seed for one in done):
            continue
        if time.monotonic() - began > options.minutes * 60:
            sys.exit(f"{options.minutes} minutes are over; run it again to go on")
        done.append(one_round(library, seed, min(ROUND_CUTS, options.cuts - number * ROUND_CUTS)))
        with open(STATE, "w", encoding="utf-8") as file:
            json.dump({"commit": tested, "rounds": done}, file)
    report(options.report, tested, done)
    os.remove(STATE)


def finished_rounds(tested):
    """Of this commit; those of another one prove nothing here."""
    try:
        with open(STATE, encoding="utf-8") as file:
            state = json.load(file)
    except FileNotFoundError:
        return []
    return state["rounds"] if state["commit"] == tested else []


def commit():
    said = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"], cwd=nodes.ROOT,
                          capture_output=True, text=True, check=True)
    return said.stdout.strip()


def one_round(library, seed, cuts):
    began, folder = time.monotonic(), tempfile.mkdtemp(prefix=f"power-{seed}-")
    powered = Powered(nodes.Cluster(folder, count=3, defaults=DEFAULTS), library, seed)
    try:
        powered.start()
        for number in range(cuts):
            powered.cut(TARGETS[(seed + number) % len(TARGETS)])
        powered.prove()
    except BaseException:
        traceback.print_exc()
        print(f"seed {seed}, after {powered.cuts} cuts: {powered.story}\n{powered.cluster.tails()}\nall of it: {folder}")
        sys.exit(1)
    finally:
        powered.end()
        powered.cluster.end()
    shutil.rmtree(folder)
    result = {"seed": seed, "cuts": powered.cuts, "seconds": round(time.monotonic() - began),
              "records_acknowledged": powered.acknowledged(), "topics_made": len(powered.churn.made),
              "topics_deleted": len(powered.churn.deleted), "undone": vars(powered.lost), "story": powered.story}
    print({key: value for key, value in result.items() if key != "story"}, flush=True)
    return result


def report(path, tested, rounds):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    whole = {
        "commit": tested, "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "power_cuts": sum(one["cuts"] for one in rounds), "seeds": [one["seed"] for one in rounds],
        "seconds": sum(one["seconds"] for one in rounds),
        "records_acknowledged": sum(one["records_acknowledged"] for one in rounds),
        "records_lost": 0, "records_duplicated": 0, "records_out_of_order": 0, "replicas_that_differ": 0,
        "topics_acknowledged_and_lost": 0,
        "undone_by_the_cuts": {name: sum(one["undone"][name] for one in rounds) for name in ("files", "bytes", "names")},
        "rounds": rounds}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(whole, file, indent=1)
        file.write("\n")
    print(f"{whole['power_cuts']} power cuts, {whole['records_acknowledged']} records acknowledged, 0 lost: {path}")


if __name__ == "__main__":
    main()
