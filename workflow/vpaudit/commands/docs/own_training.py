"""Facts of docs/own-training.md: attacks on a network's gradient at equal effort, from the recorded benchmark."""

from pathlib import Path

import pandas as pd

from vpaudit.base import stats

RECORD = Path("results/opacus/network_attack.parquet")
OURS, NO_ATTACK = "posterior", "class"
METRICS = {"mse": "MSE", "lpips_vgg_64": "LPIPS"}


def attacks() -> dict:
    """Means by noise multiplier and attack, and ours less the best other one with a paired interval over images."""
    table = pd.read_parquet(RECORD)
    names = [name for name in dict.fromkeys(table.attack) if name != OURS]
    rows = []
    for metric, title in METRICS.items():
        for noise, part in table[table.metric == metric].groupby("noise_multiplier"):
            each = part.pivot_table(index="image", columns="attack", values="value")
            best = each[[name for name in names if not name.startswith((OURS, NO_ATTACK))]].mean().idxmin()
            value, low, high, _ = stats.t_interval((each[OURS] - each[best]).to_numpy())
            rows.append(
                {"metric": title, "noise": noise, "means": [each[name].mean() for name in (OURS, *names)], "best": best,
                 "value": value, "low": low, "high": high}
            )  # fmt: skip
    seconds = table[table.metric == "seconds"].groupby("attack").value.mean()
    return {"names": [OURS, *names], "rows": rows, "images": table.image.nunique(), "seconds": seconds.to_dict()}
