"""From the files of a finished run: latency CDF, throughput and p99 over time, latency by stage, leader of each round.

python3 docs/analysis.py [LOG_DIR [OUT_DIR]] needs pandas alone. docs/files.md defines all columns and their accuracy.
"""

import sys
from pathlib import Path

import pandas as pd

log, out = (Path(path) for path in (sys.argv[1:] + ["log", "."][len(sys.argv) - 1 :])[:2])

# Latency CDF, of what latency_ms counts: the share of transactions below each border of the histogram.
latency = pd.read_csv(log / "latency.csv").query("kind != 'rejected'").groupby("until_us")["count"].sum()
cdf = (latency.cumsum() / latency.sum()).rename("share").rename_axis("below_us")

# Throughput and p99, a line for each second or what a border of the load leaves of one.
series = pd.read_csv(log / "series.csv")
series["tps"] = series.committed / (series.until_s - series.from_s)
over_time = series[["from_s", "until_s", "phase", "tps", "p99_ms"]]

# All nodes' blocks. A span of 0 is a step that was skipped, so no sample; but a fetch of 0 lacked nothing, and a coin
# decides at once where its leader has finished.
rounds = pd.concat(pd.read_csv(path) for path in sorted(log.glob("rounds-*.csv")))
spans = rounds[["spb_us", "coin_us", "decide_us", "agreement_us", "fetch_us"]]
samples = spans > 0
samples["fetch_us"] = True
samples["decide_us"] |= spans.spb_us > 0
stages = spans[samples].quantile([0.5, 0.9, 0.99]).T
# All nodes of a shard agree on the leader of a round.
leaders = rounds.groupby(["shard", "round"]).leader.first()

for name, table in dict(cdf=cdf, over_time=over_time.set_index("from_s"), stages=stages, leaders=leaders).items():
    table.to_csv(out / f"{name}.csv")
print(over_time, stages, leaders.groupby("shard").value_counts(), sep="\n\n")
