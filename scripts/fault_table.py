#!/usr/bin/env python3
"""One table: throughput and latency under each single fault, beside a run without any.

Runs `tools local` for each number of nodes and each fault, the repeats in turns, and writes the table as CSV and as
Markdown: medians of the repeats. `sensitivity` is what STABL (Gramoli et al.) calls so: the area between the two
distribution functions of latency, with the fault and without, in milliseconds; 0 is no difference.
docs/faults.md explains the faults. The programs must have been built, those of TESTBED_PROFILE (default release), with
byzantine_node: cargo build --release -p node --features byzantine --bin byzantine_node.
Exit code: 0 if all runs ended well, 1 otherwise.
"""

import argparse
import csv
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Each fault strikes node 1, a third into the load, and lasts a third of it where it lasts.
TIMED = {
    "crash": "crash:1@{at}",
    "crash and restart": "crash:1@{at}+{lasts}",
    "pause": "pause:1@{at}+{lasts}",
    "slow node": "slow-node:1=20%@{at}+{lasts}",
    "kill net_client": "kill-client:1@{at}",
    "kill net_server": "kill-server:1@{at}",
    "full disk": "disk-full:1@{at}+{lasts}",
    "partition of one": "partition:1/{others}@{at}+{lasts}",
    "slow links": "slow:1/{others}=100ms@{at}+{lasts}",
}
# Those that need one shard only; false-reject needs several.
BEHAVIOURS = "mute equivocate withhold forge bad-share wrong-vote invalid stale flood garbage".split()
COLUMNS = (
    "nodes fault plan runs not_well offered_tps tps p50_ms p90_ms p99_ms p999_ms max_ms sensitivity_ms level_s"
).split()


def plans(nodes, duration):
    """The faults for so many nodes: name, and the value of --faults."""
    third = duration / 3
    others = "+".join(str(node) for node in range(nodes) if node != 1)
    values = {"at": f"{third:.1f}", "lasts": f"{third:.1f}", "others": others}
    yield "none", "none"
    for name, plan in TIMED.items():
        yield name, plan.format(**values)
    for behaviour in BEHAVIOURS:
        yield f"Byzantine, {behaviour}", f"byzantine:1={behaviour}"


def measure(options, nodes, plan, seed):
    """Figures of one run."""
    place = options.out / "run"
    command = [options.tools, "local", "--nodes", str(nodes), "--rate", str(options.rate)]
    command += ["--duration", str(options.duration), "--warmup", str(options.warmup), "--seed", str(seed)]
    command += ["--faults", plan, "--log-dir", str(place / "log"), "--data-dir", str(place / "data")]
    place.mkdir(parents=True, exist_ok=True)
    (place / "log" / "summary.json").unlink(missing_ok=True)
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if ended.returncode == 130:
        sys.exit(130)
    path = place / "log" / "summary.json"
    if not path.exists():
        sys.exit(f"{' '.join(command)} did not run:\n{ended.stdout}")
    summary = json.loads(path.read_text())
    latency = summary["latency_ms"] or {}
    levels = [fault["level_s"] for fault in summary["faults"] if fault["level_s"] is not None]
    counts = latencies(place / "log" / "latency.csv")
    # A bucket's middle may lie above the greatest latency.
    known = [ms for ms in (quantile(counts, 0.999), latency.get("max")) if ms is not None]
    return {
        "not_well": int(ended.returncode != 0),
        "offered_tps": summary["offered_tps"],
        "tps": summary["tps"],
        "level_s": max(levels, default=None),
        "latencies": counts,
        "p999_ms": min(known, default=None),
        **{f"{name}_ms": latency.get(name) for name in ("p50", "p90", "p99", "max")},
    }


def latencies(path):
    """Middles of buckets in milliseconds with their counts, ascending."""
    counts = {}
    with path.open() as lines:
        for line in csv.DictReader(lines):
            if line["kind"] in ("intra", "cross", "never sent"):
                middle = (int(line["from_us"]) + int(line["until_us"])) / 2_000
                counts[middle] = counts.get(middle, 0) + int(line["count"])
    return sorted(counts.items())


def quantile(counts, share):
    """The latency that so large a share of the transactions had at most."""
    left = share * sum(count for _, count in counts)
    for middle, count in counts:
        left -= count
        if left <= 0:
            return middle
    return None


def together(runs):
    """The latencies of several runs."""
    counts = {}
    for run in runs:
        for middle, count in run["latencies"]:
            counts[middle] = counts.get(middle, 0) + count
    return sorted(counts.items())


def area(one, other):
    """The area between two distribution functions, in milliseconds."""
    if not one or not other:
        return None
    totals = [sum(count for _, count in counts) for counts in (one, other)]
    steps = [(ms, count / totals[0]) for ms, count in one] + [(ms, -count / totals[1]) for ms, count in other]
    steps.sort()
    between, last_ms, difference = 0.0, steps[0][0], 0.0
    for ms, step in steps:
        between += abs(difference) * (ms - last_ms)
        last_ms, difference = ms, difference + step
    return between


def median(values):
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def rows(measured):
    for (nodes, fault, plan), runs in measured.items():
        without = next(other for (n, name, _), other in measured.items() if n == nodes and name == "none")
        row = {"nodes": nodes, "fault": fault, "plan": plan, "runs": len(runs)}
        row["not_well"] = sum(run["not_well"] for run in runs)
        for column in COLUMNS:
            if column not in row and column != "sensitivity_ms":
                row[column] = median([run[column] for run in runs])
        row["sensitivity_ms"] = 0.0 if fault == "none" else area(together(without), together(runs))
        yield row


def text(value):
    if value is None:
        return ""
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def write(options, measured):
    table = list(rows(measured))
    with (options.out / "faults.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([text(row[column]) for column in COLUMNS] for row in table)
    lines = [
        f"{options.rate} tx/s offered for {options.duration:g} s, of which {options.warmup:g} s are not measured; "
        f"medians of at most {options.repeat} runs.",
        "",
        "| N | fault | tx/s | p50 ms | p90 ms | p99 ms | p99.9 ms | max ms | sensitivity ms | level after s |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in table:
        shown = "tps p50_ms p90_ms p99_ms p999_ms max_ms sensitivity_ms level_s".split()
        ill = f" ({row['not_well']} of {row['runs']} not well)" if row["not_well"] else ""
        cells = [str(row["nodes"]), row["fault"] + ill] + [text(row[column]) for column in shown]
        lines.append("| " + " | ".join(cells) + " |")
    markdown = "\n".join(lines) + "\n"
    (options.out / "faults.md").write_text(markdown)
    return markdown


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", default="4,7", help="numbers of nodes, comma-separated (4,7)")
    parser.add_argument("--rate", type=int, default=2_000, help="transactions offered a second (2000)")
    parser.add_argument("--duration", type=float, default=5.0, help="seconds of load in each run (5)")
    parser.add_argument("--warmup", type=float, default=1.0, help="seconds that are not measured (1)")
    parser.add_argument("--repeat", type=int, default=2, help="runs of each fault (2)")
    parser.add_argument("--only", default="", help="faults whose names hold this, besides none")
    parser.add_argument("--out", type=pathlib.Path, default="fault-table", help="where the table goes (fault-table)")
    options = parser.parse_args()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    profile = os.environ.get("TESTBED_PROFILE", "release")
    programs = target / ("debug" if profile == "dev" else profile)
    options.tools = str(programs / "tools")
    options.out.mkdir(parents=True, exist_ok=True)
    planned = [
        (int(nodes), fault, plan)
        for nodes in options.nodes.split(",")
        for fault, plan in plans(int(nodes), options.duration)
        if options.only in fault or fault == "none"
    ]
    liar = programs / "byzantine_node"
    if any(plan.startswith("byzantine:") for _, _, plan in planned) and not liar.exists():
        build = "cargo build -p node --features byzantine --bin byzantine_node --profile"
        sys.exit(f"{liar} is missing; build it with {build} {profile}")
    measured = {one: [] for one in planned}
    began, done = time.monotonic(), 0
    for seed in range(1, options.repeat + 1):
        for one in planned:
            nodes, fault, plan = one
            measured[one].append(measure(options, nodes, plan, seed))
            done += 1
            left = (time.monotonic() - began) / done * (len(planned) * options.repeat - done)
            run = measured[one][-1]
            print(
                f"run {done} of {len(planned) * options.repeat}: N = {nodes}, {fault}: {text(run['tps'])} tx/s, "
                f"p50 {text(run['p50_ms'])} ms, p99 {text(run['p99_ms'])} ms"
                f"{', not well' if run['not_well'] else ''}; about {left / 60:.0f} min left",
                flush=True,
            )
            write(options, {key: runs for key, runs in measured.items() if runs})
    print(write(options, measured))
    return int(any(run["not_well"] for runs in measured.values() for run in runs))


if __name__ == "__main__":
    sys.exit(main())
