"""Holds the reports of .ci/replay against what is promised, and prints them as a table.

judge_replay.py REPORTS: judges every report in a folder; exit code 1 if a promise is broken.
judge_replay.py --durability TRACES NAME: prints the durability that a trace is replayed with.
"""

import json
import pathlib
import sys

MEMORY_SLACK_BYTES = 8 << 20
HIT_RATIO_LOSS_MAX = 0.005
# A trace that accepts this many times the disk budget has to have retired segments.
TURNOVER_MIN = 1.0
SHORT_TRACE_REQUESTS = 100_000


def broken(report):
    """Promises that a report shows to be broken, as sentences."""
    restart = report["restart"]
    for key in ("wrong_values", "stale_values", "resurrected"):
        if report[key] != 0:
            yield f"{key} is {report[key]}"
    loss = restart["hit_ratio_control"] - restart["hit_ratio_after"]
    if loss > HIT_RATIO_LOSS_MAX:
        yield f"hit_ratio_after is {loss:.4f} below hit_ratio_control"
    if report["peak_anonymous_bytes"] > report["memory_bytes"] + MEMORY_SLACK_BYTES:
        yield f"peak_anonymous_bytes {report['peak_anonymous_bytes']} exceeds {report['memory_bytes']} + 8 MiB"
    if report["peak_disk_bytes"] > report["disk_bytes"]:
        yield f"peak_disk_bytes {report['peak_disk_bytes']} exceeds {report['disk_bytes']}"
    if restart["how"] == "close" and restart["lost_acknowledged"] != 0:
        yield f"lost_acknowledged is {restart['lost_acknowledged']} after close"
    if report["bytes_accepted"] > TURNOVER_MIN * report["disk_bytes"] and report["segments_retired"] == 0:
        yield "more was accepted than the disk holds, and segments_retired is 0"
    yield from report["violations"]


def mib(count):
    return f"{count / (1 << 20):.1f}"


def judge(folder):
    paths = sorted(pathlib.Path(folder).glob("*.json"))
    if not paths:
        sys.exit(f"no reports in {folder}: nothing was replayed")
    heads = ["trace", "budget", "stop", "requests", "hit", "before", "after", "control", "open ms", "anon MiB", "disk MiB"]
    heads += ["retired", "lost", ""]
    rows, bad = [], []
    retired_count = 0
    for path in paths:
        name, budget, how, _ = path.name.split(".")
        report = json.loads(path.read_text())
        restart = report["restart"]
        complaints = list(broken(report))
        retired_count += report["segments_retired"]
        bad += [f"{name}, {budget} budgets, {how}: {complaint}" for complaint in complaints]
        ratios = [report["hit_ratio"], *(restart[f"hit_ratio_{when}"] for when in ("before", "after", "control"))]
        rows.append(
            [name, budget, how, str(report["requests"])]
            + [f"{ratio:.4f}" for ratio in ratios]
            + [f"{restart['open_ms']:.1f}", mib(report["peak_anonymous_bytes"]), mib(report["peak_disk_bytes"])]
            + [str(report["segments_retired"]), str(restart["lost_acknowledged"]), "BROKEN" if complaints else "ok"]
        )
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    for row in [heads, *rows]:
        cells = [cell.ljust(width) if column < 3 else cell.rjust(width) for column, (cell, width) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())
    if retired_count == 0:
        bad.append("no replay retired a segment: none of them was long enough to tell")
    if bad:
        print("\n".join(["", "Promises broken:", *bad]))
        return 1
    print(f"\n{len(rows)} replays, every promise kept")
    return 0


def durability(folder, name):
    """Short traces go with `written`: with `buffered`, what a kill loses is a share of them that one can see."""
    manifest = json.loads((pathlib.Path(folder) / "manifest.json").read_text())
    requests = next(entry["requests"] for entry in manifest if entry["name"] == name)
    print("written" if requests < SHORT_TRACE_REQUESTS else "buffered")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--durability", folder, name]:
            durability(folder, name)
        case [folder]:
            sys.exit(judge(folder))
        case _:
            sys.exit(__doc__)
