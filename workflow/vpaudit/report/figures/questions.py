"""Figures on what the paper leaves open: prediction, success without the target, size, shift, denoised gradients."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from vpaudit.base import stats
from vpaudit.base.labels import LABELS
from vpaudit.experiments.open_questions import gains_over_plain, lead_of_agreement
from vpaudit.report.figures import style as styles
from vpaudit.report.figures.panels import MARKERS, PALETTE, intervals, legend, line, log_axis, read


def prediction(results, style: dict):
    """Mean error of an attack against its prediction from images that were not attacked; a point a (prior, mu)."""
    table = read(results, "prediction")
    keys = ["prior", "attack", "mu"]
    sources = {"reference": "from training images", "prior": "from the prior's own images"}
    figure, panels = plt.subplots(1, 2, figsize=styles.size(style, 0.5), sharex=True, sharey=True)
    achieved = intervals(table[table["source"] == "targets"], keys).set_index(keys)
    tables = []
    for axes, (source, title) in zip(panels, sources.items()):
        found = intervals(table[table["source"] == source], keys).set_index(keys)
        both = found.join(achieved[["value", "low", "high"]].add_prefix("achieved_"), how="inner").reset_index()
        for number_, ((prior, attack), rows) in enumerate(both.groupby(["prior", "attack"], sort=False)):
            axes.plot(
                rows["value"], rows["achieved_value"], MARKERS[number_ % len(MARKERS)], markersize=3,
                color=PALETTE[number_ % len(PALETTE)], label=f"{LABELS.get(prior, prior)}, {LABELS[attack]}",
            )  # fmt: skip
        ends = [both["value"].min() * 0.9, both["value"].max() * 1.1]
        axes.plot(ends, ends, color="black", linewidth=0.7, linestyle=":")
        axes.set(xscale="log", yscale="log", xlabel="predicted MSE")
        r2, within, worst = _fit(both, both["value"])
        axes.set_title(f"{title}\nR² {r2:.3f}, within a µ {within:.3f}, worst {100 * worst:.0f} %")
        tables += [both.assign(source=source, quantity="MSE"), _fit_rows(source, both, both["value"])]
    panels[0].set_ylabel("achieved MSE")
    legend(figure, panels, 3)
    apart = read(results, "distances")
    one = achieved.reset_index().query("attack == 'posterior_mean'").rename(columns={"value": "achieved_value"})
    tables += [_fit_rows(kind, one, _by_distance(one, rows)) for kind, rows in apart.groupby("metric", sort=False)]
    return figure, pd.concat(tables, ignore_index=True)


def _fit(both: pd.DataFrame, predicted: pd.Series) -> tuple[float, float, float]:
    """R² of log MSE, the same within a mu (which alone explains most of it), and the worst relative error."""
    logs = np.log(both["achieved_value"])
    missed = ((logs - np.log(predicted)) ** 2).sum()
    worst = float((predicted / both["achieved_value"] - 1).abs().max())
    around = ((logs - logs.groupby(both["mu"]).transform("mean")) ** 2).sum()
    return float(1 - missed / ((logs - logs.mean()) ** 2).sum()), float(1 - missed / around), worst


def _fit_rows(source: str, both: pd.DataFrame, predicted: pd.Series) -> pd.DataFrame:
    names = ("R2 of log MSE", "R2 within a mu", "worst relative error")
    rows = pd.DataFrame({"quantity": names, "value": _fit(both, predicted)})
    return rows.assign(source=source, n=len(both))


def _by_distance(one: pd.DataFrame, distances: pd.DataFrame) -> pd.Series:
    """MSE predicted from a prior's distance to the images: at each mu a line in log distance, fitted to these points.

    Fitted and judged on the same points, which flatters it.
    """
    logs = np.log(one["prior"].map(distances.set_index("prior")["value"]).clip(lower=1e-6))
    centre = one["mu"].map(np.log(one["achieved_value"]).groupby(one["mu"]).mean())
    offset = logs - logs.groupby(one["mu"]).transform("mean")
    slope = (offset * (np.log(one["achieved_value"]) - centre)).sum() / (offset**2).sum()
    return np.exp(centre + slope * offset)


ESTIMATES = {
    "estimated_mse": "agreement of draws",
    "baseline_total_variation": "total variation of one draw",
    "baseline_sharpness": "sharpness of one draw",
    "baseline_contrast": "contrast of one draw",
    "baseline_brightness": "brightness of one draw",
}


def draws(results, style: dict):
    """Above: rank correlation with success within a mu, and estimate over error by number of draws and by frequency;
    below: reliability of the pixel-wise spread, for the right and for a wrong prior."""
    table = read(results, "draws")
    figure, panels = plt.subplots(2, 3, figsize=styles.size(style, 0.72))
    right, most = table[table["prior"] == "unconditional"], int(table["draws"].max())
    tables = [_ranks(panels[0, 0], right, most)]
    for number_, (prior, label) in enumerate((("unconditional", "right prior"), ("wrong_class", "wrong class"))):
        rows = table[table["prior"] == prior]
        achieved = rows[rows["metric"] == "achieved_mse"]
        found = intervals(rows[rows["metric"] == "estimated_mse"], ["draws", "mu"], achieved)
        at_most = found[found["draws"] == found["draws"].max()]
        line(panels[0, 1], at_most, "mu", label, number_)
        tables.append(found.assign(prior=prior, quantity="estimate / achieved"))
        pixels = rows[rows["metric"] == "pixels"].set_index(["image", "mu", "place"])["value"]
        for mu in sorted(rows["mu"].unique())[:: max(1, table["mu"].nunique() - 1)]:
            tables.append(_reliability(panels[1, number_], rows, pixels, mu).assign(prior=prior))
        panels[1, number_].set_title(f"{label}: error against spread")
    spread = tables[1]
    for number_, (mu, rows) in enumerate(spread.groupby("mu")):
        line(panels[0, 2], rows, "draws", f"µ = {mu:g}", number_)
    log_axis(panels[0, 2], spread["draws"], "draws")
    for number_, (band, rows) in enumerate(right[right["metric"] == "estimated_band"].groupby("place")):
        base = right[(right["metric"] == "achieved_band") & (right["place"] == band)]
        found = intervals(rows, ["place", "mu"], base)
        line(panels[1, 2], found, "mu", f"frequency band {band + 1}", number_ + 4)
        tables.append(found.assign(quantity="estimate / achieved by frequency"))
    for axes in (panels[0, 0], panels[0, 1], panels[1, 2]):
        log_axis(axes, table["mu"], "µ = C/σ")
    for axes in (panels[0, 1], panels[0, 2], panels[1, 2]):
        axes.axhline(1, color="black", linewidth=0.7, linestyle=":")
        axes.set_ylabel("estimated / achieved MSE")
    panels[0, 0].set_ylim(top=2.0)  # room for the legend: a correlation ends at 1
    panels[0, 0].set_yticks((-0.5, 0, 0.5, 1))
    for axes in panels.flat:
        axes.legend(frameon=False, fontsize=style["font_size"] - 2.5)
    return figure, pd.concat(tables, ignore_index=True)


def _ranks(axes, right: pd.DataFrame, most: int) -> pd.DataFrame:
    """Spearman's rho with the achieved error within each mu: the estimate, baselines from one draw, and by how much the
    estimate is ahead of the best of them (chosen with the targets known). The known mu alone has no rank within a mu.
    """
    found = []
    for mu, rows in right.groupby("mu"):
        achieved = rows[rows["metric"] == "achieved_mse"].set_index("image")["value"]
        for name in ESTIMATES:
            part = rows[(rows["metric"] == name) & rows["draws"].isin((most, 1))].set_index("image")["value"]
            value = stats.rank_correlation(part.loc[achieved.index].to_numpy(), achieved.to_numpy(), 0)
            found.append((name, mu, *value, len(achieved)))
        found.append(("ahead", mu, *lead_of_agreement(rows)))
    table = pd.DataFrame(found, columns=["estimate", "mu", "value", "low", "high", "n"])
    for number_, (name, label) in enumerate(ESTIMATES.items()):
        line(axes, table[table["estimate"] == name], "mu", label, number_)
    axes.axhline(0, color="black", linewidth=0.7, linestyle=":")
    axes.set_ylabel("rank correlation with the error")
    kind = np.where(table["estimate"] == "ahead", "rank correlation, ahead of the best baseline", "rank correlation")
    return table.assign(quantity=kind)


def _reliability(axes, rows: pd.DataFrame, pixels: pd.Series, mu: float) -> pd.DataFrame:
    """Root mean square error of the mean of draws against their spread, a point a bin of spread."""
    found = []
    wide = rows[np.isclose(rows["mu"], mu) & rows["metric"].isin(("pixel_variance", "pixel_squared_error"))]
    wide = wide.pivot_table(index=["image", "mu", "place"], columns="metric", values="value")
    wide = wide.join(pixels.rename("pixels"))
    for place, part in wide.groupby("place"):
        weight = part["pixels"].to_numpy()
        if weight.sum() < 200:
            continue
        both = part[["pixel_squared_error", "pixel_variance"]].to_numpy()
        columns = np.c_[both * weight[:, None], weight]
        value, low, high = stats.bootstrap(columns, lambda c: np.sqrt(c[:, 0].sum() / c[:, 2].sum()))
        spread = np.sqrt((both[:, 1] * weight).sum() / weight.sum())
        found.append((mu, place, spread, value, low, high, int(weight.sum())))
    table = pd.DataFrame(found, columns=["mu", "place", "spread", "value", "low", "high", "n"], dtype=float)
    line(axes, table, "spread", f"µ = {mu:g}", int(np.log(mu) * 2) % 7)
    ends = [0, np.nanmax([*table["spread"], 0.1])]
    axes.plot(ends, ends, color="black", linewidth=0.7, linestyle=":")
    axes.set(xlabel="pixel's std between draws", ylabel="pixel's error (root mean square)")
    return table.assign(quantity="reliability")


MEASURES = {
    "mse": "MSE",
    "ssim": "SSIM",
    "lpips": "LPIPS",
    "bits": "bits\nleaked",
    "bits_per_dof": "bits / degree\nof freedom",
    "recovered": "variance\nrecovered",
    "recovered_low": "the same,\ncoarse only",
}


def scale(results, style: dict):
    """A row a data set, a column a measure: its value over mu, a line a size; titles say how alike sizes are.

    The least rank correlation between a size and the largest, and the largest difference at equal mu over the range.
    """
    table = read(results, "scale")
    found, judged = _scale_values(table), _scale_ranks(table)
    gaps = _scale_gaps(found)
    sources = list(dict.fromkeys(table["source"]))
    shape = (len(sources), len(MEASURES))
    figure, panels = plt.subplots(*shape, figsize=styles.size(style, 0.12 + 0.26 * len(sources)), squeeze=False)
    for row, source in enumerate(sources):
        for axes, (measure, label) in zip(panels[row], MEASURES.items()):
            here = found[(found["source"] == source) & (found["metric"] == measure)]
            for number_, (_, rows) in enumerate(here.groupby("size")):
                line(axes, rows, "mu", ("smallest", "second", "third", "largest")[number_ % 4] + " size", number_)
            rank, gap = (t.loc[(t["source"] == source) & (t["metric"] == measure), "value"] for t in (judged, gaps))
            note = f"\nρ {rank.min():.2f}, {100 * gap.max():.0f} %" if len(rank) else ""
            axes.set_title(label + note, fontsize=style["font_size"] - 1.5)
            axes.set_xscale("log")
            axes.tick_params(labelsize=style["font_size"] - 3)
            if measure in ("mse", "bits", "bits_per_dof"):
                axes.set_yscale("log")
        sizes = ", ".join(f"{size}" for size in sorted(table.loc[table["source"] == source, "size"].unique()))
        panels[row, 0].set_ylabel(f"{source}\n{sizes} pixels a side")
    for axes in panels[-1]:
        axes.set_xlabel("µ")
    legend(figure, panels, 4)
    return figure, pd.concat([found, judged, gaps], ignore_index=True)


def _scale_values(table: pd.DataFrame) -> pd.DataFrame:
    return intervals(table, ["source", "metric", "size", "mu"]).assign(quantity="mean over images")


def _scale_ranks(table: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rho over (image, mu) between every size and the largest: 1 if a measure ranks risk alike."""
    rows = []
    for (source, metric), part in table.groupby(["source", "metric"], sort=False):
        wide = part.pivot_table(index=["image", "mu"], columns="size", values="value").dropna(axis=1)
        for size in wide.columns[:-1]:
            value, low, high = stats.rank_correlation(wide[size].to_numpy(), wide[wide.columns[-1]].to_numpy(), 0, 200)
            rows.append((source, metric, size, value, low, high, len(wide)))
    table = pd.DataFrame(rows, columns=["source", "metric", "size", "value", "low", "high", "n"])
    return table.assign(quantity="rank correlation between sizes")


def _scale_gaps(found: pd.DataFrame) -> pd.DataFrame:
    """Largest difference at equal mu between every size and the largest, over the measure's range: 0 if sizes agree."""
    rows = []
    for (source, metric), part in found.groupby(["source", "metric"], sort=False):
        wide = part.pivot_table(index="mu", columns="size", values="value").dropna(axis=1)
        reach = wide.to_numpy().max() - wide.to_numpy().min()
        for size in wide.columns[:-1]:
            gap = (wide[size] - wide[wide.columns[-1]]).abs().max() / reach
            rows.append((source, metric, size, gap, part["n"].min()))
    table = pd.DataFrame(rows, columns=["source", "metric", "size", "value", "n"])
    return table.assign(quantity="difference between sizes / range")


DISTANCES = {"kl": "KL up to this µ", "frechet": "Fréchet, features", "pixels": "Fréchet, pixels"}


def shift(results, style: dict):
    """Left: the matrix of losses, prior against target; right: how well each distance ranks them, by mu."""
    table = read(results, "shift")
    mus = sorted(table["mu"].dropna().unique())
    middle = mus[len(mus) // 2]
    figure, panels = plt.subplots(1, 2, figsize=styles.size(style, 0.52), width_ratios=(1.4, 1))
    targets = list(dict.fromkeys(table["target"].dropna()))
    order = [*targets, *(prior for prior in dict.fromkeys(table["prior"]) if prior not in targets)]
    matrix = _loss(table, middle).rename("loss").reset_index()
    matrix = matrix.pivot_table(index="prior", columns="target", values="loss").loc[order, targets]
    image = panels[0].imshow(matrix, cmap="viridis")
    panels[0].set_xticks(range(len(matrix.columns)), matrix.columns, rotation=90)
    panels[0].set_yticks(range(len(matrix.index)), matrix.index)
    panels[0].grid(False)
    panels[0].set(xlabel="target", ylabel="prior")
    panels[0].set_title(f"MSE over the right class's, log2, µ = {middle:g}")
    figure.colorbar(image, ax=panels[0], shrink=0.8)
    rows = []
    for mu in mus:
        loss = _loss(table, mu)
        loss = loss[loss.index.get_level_values("prior") != loss.index.get_level_values("target")]
        for kind in DISTANCES:
            part = table[(table["metric"] == kind) & (table["mu"].isna() | np.isclose(table["mu"], mu))]
            distance = part.set_index(["prior", "target"])["value"].loc[loss.index]
            rows.append((kind, mu, *stats.rank_correlation(distance.to_numpy(), loss.to_numpy(), 0), len(loss)))
    ranks = pd.DataFrame(rows, columns=["distance", "mu", "value", "low", "high", "n"])
    for number_, (kind, label) in enumerate(DISTANCES.items()):
        line(panels[1], ranks[ranks["distance"] == kind], "mu", label, number_)
    log_axis(panels[1], mus, "µ = C/σ")
    panels[1].set(ylabel="rank correlation with the loss", ylim=(min(0, ranks["low"].min()), 1.02))
    panels[1].legend(frameon=False)
    losses = pd.concat([_loss(table, mu).rename("value").reset_index().assign(mu=mu) for mu in mus])
    return figure, pd.concat([ranks, losses.assign(quantity="log2 MSE ratio")], ignore_index=True)


def _loss(table: pd.DataFrame, mu: float) -> pd.Series:
    """log2 of MSE over that of the right class, by (prior, target)."""
    rows = table[(table["metric"] == "mse") & np.isclose(table["mu"], mu)].set_index(["prior", "target"])["value"]
    right = {target: rows[target, target] for target in rows.index.get_level_values("target").unique()}
    return np.log2(rows / rows.index.get_level_values("target").map(right).to_numpy())


FILTERS = {
    ("plain", "none"): "plain DP-SGD",
    ("kalman", "none"): "Kalman",
    ("wiener", "same"): "Wiener, public data alike",
    ("subspace", "same"): "public subspace, alike",
    ("diffusion", "same"): "diffusion, alike",
    ("wiener", "shifted"): "Wiener, public data shifted",
    ("subspace", "shifted"): "public subspace, shifted",
    ("diffusion", "shifted"): "diffusion, shifted",
}


def dpsgd(results, style: dict):
    """A row a model: accuracy over epsilon, and what each filter gains over plain DP-SGD with the same seeds."""
    table = read(results, "dpsgd")
    keys = ["model", "method", "public", "epsilon"]
    gains = gains_over_plain(table).assign(value=lambda rows: rows["gain"])
    kinds = {"accuracy": table, "gain over plain": gains, "seconds": table.assign(value=table["seconds"])}
    numbers = pd.concat(
        [_over_seeds(rows, keys).assign(quantity=quantity) for quantity, rows in kinds.items()], ignore_index=True
    )
    models = list(dict.fromkeys(table["model"]))
    figure, panels = plt.subplots(len(models), 2, figsize=styles.size(style, 0.48 * len(models)), squeeze=False)
    for row, model in enumerate(models):
        for column, quantity in enumerate(("accuracy", "gain over plain")):
            here = numbers[(numbers["model"] == model) & (numbers["quantity"] == quantity)]
            for number_, ((method, public), label) in enumerate(FILTERS.items()):
                found = here[(here["method"] == method) & (here["public"] == public)]
                if len(found):
                    line(panels[row, column], found, "epsilon", label, number_, "--" if public == "shifted" else "-")
            log_axis(panels[row, column], table["epsilon"], "ε at δ = 1e-5")
        panels[row, 0].set_ylabel(f"{model}: test accuracy")
        panels[row, 1].set_ylabel("gain over plain DP-SGD, paired")
        panels[row, 1].axhline(0, color="black", linewidth=0.7, linestyle=":")
    legend(figure, panels, 3)
    return figure, numbers


def _over_seeds(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """keys, value, low, high, n by Student's t over the seeds."""
    found = [
        (*key, *stats.t_interval(part["value"].to_numpy())[:3], len(part))
        for key, part in rows.groupby(keys, sort=False)
    ]
    return pd.DataFrame(found, columns=[*keys, "value", "low", "high", "n"])


FIGURES = {"prediction": prediction, "draws": draws, "scale": scale, "shift": shift, "dpsgd": dpsgd}
