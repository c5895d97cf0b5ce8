"""Facts of docs/own-training.md, from recorded benchmarks: attacks on a gradient at equal effort, and what six networks
leak."""

from pathlib import Path

import pandas as pd

from vpaudit.base import stats

RECORD = Path("results/opacus/network_attack.parquet")
OURS, NO_ATTACK = "posterior", "class"
NETWORKS = Path("results/opacus/networks.parquet")
SETS = {"fashion_mnist": "clothes", "cifar10_local": "CIFAR-10"}
WEIGHTS = {"initial": "at initialisation", "trained": "after training"}
SHOWN = 0.5  # noise multiplier at which layers, batches and knowledge are compared
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


def ratios(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """keys, value, low, high, n: mean over images of column `ratio`, with Student's interval from three images on."""
    rows = []
    for key, part in table.groupby(keys, sort=False):
        value, low, high, _ = stats.t_interval(part["ratio"].to_numpy())
        interval = (max(low, 0.0), high) if len(part) > 2 else (float("nan"), float("nan"))
        rows.append((*key, value, *interval, len(part)))
    return pd.DataFrame(rows, columns=[*keys, "value", "low", "high", "n"])


def networks() -> dict:
    """Equivalent mu over C / sigma by data, weights and network: over noise, by adversary, and by layer."""
    rows = []
    for (data, weights, name), part in pd.read_parquet(NETWORKS).groupby(["data", "weights", "network"], sort=False):
        whole, shown = part[part.layer == "all"], part[part.noise_multiplier == SHOWN]
        alone, layers = whole[whole.told & (whole.batch == 1)], shown[shown.told & (shown.layer != "all")]
        first = alone[alone.noise_multiplier == SHOWN]
        adversaries = ratios(shown[shown.layer == "all"], ["told", "batch"]).itertuples(index=False)
        rows.append({
            "network": name, "data": SETS[data], "weights": WEIGHTS[weights], "images": len(first),
            "accuracy": first.accuracy.mean(), "departure": first.departure.median(),
            "noise": {noise: found for noise, *found in ratios(alone, ["noise_multiplier"]).itertuples(index=False)},
            "others": {(bool(told), int(batch)): found for told, batch, *found in adversaries},
            "layers": {layer: value for layer, value, *_ in ratios(layers, ["layer"]).itertuples(index=False)},
        })  # fmt: skip
    return {"rows": rows, "shown": SHOWN}
