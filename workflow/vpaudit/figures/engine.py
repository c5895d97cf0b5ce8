"""Figures of the experiments on the attack engine, from results/<study>/experiments/<name>.parquet."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import t as student

from vpaudit import stats
from vpaudit.errors import VpauditError
from vpaudit.figures import style as styles
from vpaudit.names import LABELS, METRICS

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999999", "#000000")
MARKERS = "osD^vxP*+"


def read(results: Path, name: str, folder: str = "experiments") -> pd.DataFrame:
    """The table of an experiment, or of a benchmark."""
    path = Path(results) / folder / f"{name}.parquet"
    if not path.exists():
        raise VpauditError(f"{path} does not exist", f"run `snakemake {folder}`, which makes it")
    return pd.read_parquet(path)


def intervals(table: pd.DataFrame, keys: list[str], base: pd.DataFrame | None = None) -> pd.DataFrame:
    """keys, value, low, high, n: mean over images with its 95 % interval.

    Args:
        base: rows to divide by, paired by image (and mu): value is then a ratio of means over the same images.
    """
    found = []
    for key, rows in table.groupby(keys, sort=False):
        values = rows.groupby("image")["value"].mean()
        if base is None:
            value, low, high = stats.bootstrap(values.to_numpy())
        else:
            mu = dict(zip(keys, key)).get("mu")
            same = base if mu is None else base[np.isclose(base["mu"], mu)]
            pair = pd.concat([values, same.groupby("image")["value"].mean()], axis=1, join="inner").to_numpy()
            value, low, high = stats.bootstrap(pair, lambda p: p[:, 0].mean() / p[:, 1].mean())
        found.append((*key, float(value), float(low), float(high), len(values)))
    return pd.DataFrame(found, columns=[*keys, "value", "low", "high", "n"])


def _line(axes, rows: pd.DataFrame, x: str, label: str, number_: int, dash: str = "-") -> None:
    rows, colour = rows.sort_values(x), PALETTE[number_ % len(PALETTE)]
    axes.plot(
        rows[x], rows["value"], color=colour, marker=MARKERS[number_ % len(MARKERS)], markersize=2.6, linestyle=dash,
        label=label,
    )  # fmt: skip
    axes.fill_between(rows[x], rows["low"], rows["high"], color=colour, alpha=0.18, linewidth=0)


def _log_axis(axes, values, label: str, shown=None) -> None:
    values = sorted(set(values))
    axes.set_xscale("log")
    axes.set_xticks(values, [f"{v:g}" if shown is None or v in shown else "" for v in values])
    axes.minorticks_off()
    axes.set_xlabel(label)


def _legend(figure, panels, columns: int) -> None:
    entries = {}
    for axes in np.asarray(panels).flat:
        entries |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels())}
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns, frameon=False)


SOLVERS = {
    "ddim": "DDIM",
    "heun": "Heun",
    "multistep_2": "DPM-Solver++ 2M",
    "multistep_3": "multistep of order 3",
    "few_step": "fitted to the prior",
}


def calls(results, style: dict):
    """A row a measure, a column a mu: quality relative to the converged output, and the distance to it."""
    table = read(results, "calls")
    measures = [m for m in ("mse", "ssim", "lpips_vgg_64") if m in set(table["metric"])]
    mus = sorted(table["mu"].unique())
    shape = (len(measures) + 1, len(mus))
    figure, panels = plt.subplots(*shape, figsize=styles.size(style, 1.05), sharex=True, sharey="row", squeeze=False)
    tables = []
    for row, metric in enumerate([*measures, "rmse_converged"]):
        rows = table[table["metric"] == metric]
        base = None if metric == "rmse_converged" else rows[rows["solver"] == "converged"]
        found = intervals(rows[rows["solver"].isin(SOLVERS)], ["solver", "calls", "mu"], base)
        if base is None:
            found[["value", "low", "high"]] /= 2.0  # of the width of the pixel range
        tables.append(found.assign(metric=metric, relative_to="pixel range" if base is None else "converged"))
        for axes, mu in zip(panels[row], mus):
            here = found[np.isclose(found["mu"], mu)]
            for number_, (solver, label) in enumerate(SOLVERS.items()):
                _line(axes, here[here["solver"] == solver], "calls", label, number_)
            _calls_axes(axes, metric, mu, row == 0, row == len(measures))
        name = "distance to\nconverged / range" if base is None else f"{METRICS[metric].label}\n/ converged"
        panels[row, 0].set_ylabel(name)
    _legend(figure, panels, 5)
    return figure, pd.concat(tables, ignore_index=True)


def _calls_axes(axes, metric, mu, top, bottom) -> None:
    if metric == "rmse_converged":
        axes.set_yscale("log")
        axes.axhline(0.02, color="black", linewidth=0.7, linestyle=":")
    else:
        axes.axhspan(0.99, 1.01, color="black", alpha=0.12, linewidth=0)
        axes.set_ylim(0.7, 1.3)
    axes.set_xscale("log")
    axes.set_xticks([1, 2, 6, 16, 32], ["1", "2", "6", "16", "32"])
    axes.minorticks_off()
    if top:
        axes.set_title(f"µ = {mu:g}")
    if bottom:
        axes.set_xlabel("network calls")


def calibration(results, style: dict):
    """Columns: images of the prior itself, and real ones; rows: spread over error, and coverage of 90 % intervals."""
    table = read(results, "calibration")
    figure, panels = plt.subplots(2, 2, figsize=styles.size(style, 0.75), sharex=True, sharey="row")
    titles = {"prior": "images drawn from the prior: the sampler's part", "real": "test images: sampler and network"}
    keys, tables = ["targets", "sampler", "calls", "mu"], []
    names = {"ancestral": "ancestral", "multistep_2": "2nd-order SDE", "ddrm": "DDRM", "heun_churn": "Heun, churn"}
    for column, (targets, title) in enumerate(titles.items()):
        rows = table[table["targets"] == targets]
        groups = rows[rows["sampler"].isin(names)].groupby(["sampler", "calls"], sort=False)
        for number_, ((sampler, count), part) in enumerate(groups):
            error = part[part["metric"] == "error"]
            spread = intervals(part[part["metric"] == "pairwise"], keys, error).assign(metric="pairwise / error")
            cover = intervals(part[part["metric"] == "coverage"], keys).assign(metric="coverage")
            label = f"{names[sampler]}, {count} calls"
            _line(panels[0, column], spread, "mu", label, number_)
            _line(panels[1, column], cover, "mu", label, number_)
            tables += [spread, cover]
        panels[0, column].axhline(1, color="black", linewidth=0.7, linestyle=":")
        panels[1, column].axhspan(0.88, 0.92, color="black", alpha=0.12, linewidth=0)
        panels[0, column].set_title(title)
        _log_axis(panels[1, column], table["mu"], "µ = C/σ")
    panels[0, 0].set_ylabel("distance between draws\n/ distance to target (MSE)")
    panels[1, 0].set_ylabel("coverage of 90 % intervals")
    _legend(figure, panels, 4)
    return figure, pd.concat(tables, ignore_index=True)


def averaging(results, style: dict):
    """A panel a mu: MSE of the mean of R draws over that of the one-call posterior mean, against all calls spent."""
    table = read(results, "averaging")
    table = table[table["metric"] == "mse"]
    base = table[table["sampler"] == "posterior_mean"]
    mus = sorted(table["mu"].unique())
    columns = min(3, len(mus))
    shape = (-(-len(mus) // columns), columns)
    figure, panels = plt.subplots(*shape, figsize=styles.size(style, 0.62), sharex=True, sharey=True, squeeze=False)
    names = {"ancestral": "ancestral", "multistep_2": "2nd-order SDE"}
    rows = table[table["sampler"].isin(names)]
    found = intervals(rows, ["sampler", "steps", "repeats", "calls", "mu"], base)
    for axes, mu in zip(panels.flat, mus):
        here = found[np.isclose(found["mu"], mu)]
        for number_, ((sampler, steps), part) in enumerate(here.groupby(["sampler", "steps"], sort=False)):
            _line(axes, part, "calls", f"mean of draws, {names[sampler]}, {steps} calls each", number_)
        axes.axhline(1, color="black", linewidth=0.8, linestyle=":", label="posterior mean, 1 call")
        axes.set_title(f"µ = {mu:g}")
        _log_axis(axes, (1, 10, 100, 1000), "network calls in all")
    for axes in panels[:, 0]:
        axes.set_ylabel("MSE / posterior mean's")
    for axes in panels.flat[len(mus) :]:
        axes.axis("off")
    _legend(figure, panels, 2)
    return figure, found


ESTIMATORS = {"wavelet": "wavelets", "patches": "patches", "blank": "coordinates without image", "prior": "the prior"}
GUESSES = {"norm": "C and the typical norm", "energy": "energy and the typical norm", "prior": "the prior"}


def knowledge(results, style: dict):
    """What is estimated, how well, and what it costs against perfect knowledge."""
    table = read(results, "knowledge")
    figure, panels = plt.subplots(2, 3, figsize=styles.size(style, 0.78), sharex=True)
    mse = table[(table["metric"] == "mse") & (table["attack"] == "posterior_mean")]
    exact = (table["sigma_error"] == 0) & (table["lam_error"] == 0)
    base = mse[(mse["sigma"] == "known") & (mse["lam"] == "known") & exact.loc[mse.index]]
    keys, tables = ["knowledge", "sigma", "lam", "sigma_error", "lam_error", "mu"], []

    def cost(axes, rows, label, number_, dash="-"):
        found = intervals(rows, keys, base)
        tables.append(found.assign(quantity="MSE / perfect knowledge"))
        _line(axes, found, "mu", label, number_, dash)

    def ratio(axes, name, rows, label, number_):
        rows = rows[rows["metric"] == name]
        groups = rows.groupby(keys)["value"]
        found = pd.DataFrame({n: groups.quantile(q) for n, q in (("value", 0.5), ("low", 0.05), ("high", 0.95))})
        found = found.reset_index().assign(n=rows["image"].nunique())
        tables.append(found.assign(quantity=f"{name}, median and 5 to 95 %"))
        _line(axes, found, "mu", label, number_)

    for number_, (name, label) in enumerate(ESTIMATORS.items()):
        alone = (table["sigma"] == name) & (table["lam"] == "known")
        ratio(panels[0, 0], "sigma_ratio", table[alone], f"σ by {label}", number_)
        cost(panels[1, 0], mse[alone.loc[mse.index]], f"σ by {label}", number_)
    for number_, (name, label) in enumerate(GUESSES.items(), start=4):
        alone = (table["lam"] == name) & (table["sigma"] == "known")
        ratio(panels[0, 1], "lambda_ratio", table[alone], f"λ by {label}", number_)
        cost(panels[1, 1], mse[alone.loc[mse.index]], f"λ by {label}", number_)
        both = (table["lam"] == name) & (table["sigma"] == "blank")
        cost(panels[1, 1], mse[both.loc[mse.index]], f"λ by {label}", number_, "--")
    for number_, error in enumerate((-0.2, -0.1, 0.1, 0.2)):
        for axes, column in ((panels[0, 2], "sigma_error"), (panels[1, 2], "lam_error")):
            cost(axes, mse[np.isclose(mse[column], error)], f"told {100 * error:+g} %", number_ + 5)
    titles = (
        ("σ believed / true", "λ believed / true", "σ told wrongly"),
        ("σ unknown", "λ unknown", "λ told wrongly"),
    )
    for axes, title in zip(panels.flat, np.ravel(titles)):
        axes.set_title(title)
        axes.axhline(1, color="black", linewidth=0.7, linestyle=":")
    for axes in panels[1]:
        _log_axis(axes, table["mu"], "µ = C/σ")
    panels[0, 0].set_yscale("log")
    panels[1, 0].set_ylabel("MSE / with σ and λ known")
    panels[0, 0].set_ylabel("median, 5 to 95 % of images")
    panels[0, 2].set_ylabel("MSE / with both known")
    _legend(figure, panels, 4)
    return figure, pd.concat(tables, ignore_index=True)


def rounds(results, style: dict):
    """Columns: the budget held fixed; lines: sampling and adversary; one panel a mu, of those with several rounds."""
    table = read(results, "rounds")
    budgets = {"mu a round": "µ of each round fixed", "epsilon": "ε of all rounds fixed"}
    mus = sorted(table["mu"].unique())
    figure, panels = plt.subplots(2, len(mus), figsize=styles.size(style, 0.6), sharex=True, sharey=True, squeeze=False)
    found = intervals(table, ["rounds", "budget", "sampling", "adversary", "mu_round", "mu_total", "mu"])
    lines = {
        ("every round", "mean"): "in every round",
        ("Poisson 0.25", "told"): "sampled at ¼, rounds known",
        ("Poisson 0.25", "told apart"): "sampled at ¼, rounds told apart",
        ("Poisson 0.25", "mean"): "sampled at ¼, mean of all rounds",
    }
    for row, (budget, title) in enumerate(budgets.items()):
        for axes, mu in zip(panels[row], mus):
            here = found[(found["budget"] == budget) & np.isclose(found["mu"], mu)]
            for number_, ((sampling, adversary), label) in enumerate(lines.items()):
                part = here[(here["sampling"] == sampling) & (here["adversary"] == adversary)]
                if len(part):
                    _line(axes, part, "rounds", label, number_)
            axes.set_yscale("log")
            axes.set_title(f"{'µ each' if row == 0 else 'ε of µ'} = {mu:g}")
            _log_axis(axes, table["rounds"], "rounds" if row else "")
        panels[row, 0].set_ylabel(f"{title}\nMSE of the posterior mean")
    _legend(figure, panels, 4)
    return figure, found


def gradients(results, style: dict):
    """Error against effective mu, for images out of gradients and after simple releases; and how many come apart."""
    table = read(results, "gradients")
    figure, panels = plt.subplots(1, 3, figsize=styles.size(style, 0.4))
    wide = table[table["metric"] != "separable"].pivot_table(
        index=["design", "batch", "strength", "mu", "image"], columns="metric", values="value"
    )
    wide = wide.reset_index().assign(effective=lambda t: t["mu"] * t["share"])
    designs = {"fowl": "Fowl et al.", "sparse": "Fowl et al., sparse", "trap": "Boenisch et al."}
    edges = np.geomspace(wide["effective"].clip(lower=0.2).min(), wide["effective"].max() * 1.001, 13)
    tables = []
    for number_, (design, label) in enumerate(designs.items()):
        rows = wide[wide["design"] == design]
        for bin_, part in rows.groupby(np.digitize(rows["effective"], edges)):
            pair = part[["mse", "mse_simple"]].to_numpy()
            value, low, high = stats.bootstrap(pair[:, 0])
            row = {"design": design, "effective": float(np.exp(np.log(part["effective"]).mean())), "bin": bin_}
            row |= {"value": float(value), "low": float(low), "high": float(high), "n": len(part)}
            tables.append(pd.DataFrame([{**row, "simple": pair[:, 1].mean(), "quantity": "mse"}]))
        here = pd.concat([t for t in tables if (t["design"] == design).all()])
        _line(panels[0], here, "effective", label, number_)
        panels[0].plot(here["effective"], here["simple"], color="black", linewidth=0.7, linestyle=":")
        share = intervals(
            table[(table["metric"] == "share") & (table["design"] == design)], ["design", "strength", "batch"]
        )
        alone = intervals(table[(table["metric"] == "separable") & (table["design"] == design)], ["design", "batch"])
        _line(panels[1], share[share["batch"] == share["batch"].min()], "strength", label, number_)
        _line(panels[2], alone, "batch", label, number_)
        tables += [share.assign(quantity="share"), alone.assign(quantity="separable")]
    panels[0].set(xscale="log", yscale="log", xlabel="effective µ = share × C/σ", ylabel="MSE of the posterior mean")
    panels[0].set_title("dotted: simple release")
    _log_axis(panels[1], table["strength"], "strength of the imprint")
    panels[1].set_ylabel("image's share of the\nclipped gradient")
    _log_axis(panels[2], table["batch"], "images in the batch")
    panels[2].set(ylabel="images that come apart", ylim=(0, 1.03))
    _legend(figure, panels, 3)
    return figure, pd.concat(tables, ignore_index=True)


def peers(results, style: dict):
    """A row a metric, a column a mu: quality against time an image, a line a method; ours solid, peers dashed."""
    table = read(results, "peers", "benchmarks").assign(per_image=lambda t: 1000 * t["seconds"] / t["n"])
    measures = [m for m in ("mse", "ssim", "lpips_vgg_64") if m in table]
    mus = sorted(table["mu"].unique())
    shape = (len(measures), len(mus))
    figure, panels = plt.subplots(*shape, figsize=styles.size(style, 0.95), sharex=True, squeeze=False)
    methods = list(dict.fromkeys(table["method"]))
    tables = []
    for row, metric in enumerate(measures):
        for axes, mu in zip(panels[row], mus):
            for number_, method in enumerate(methods):
                here = table[(table["method"] == method) & (table["mu"] == mu)].sort_values("calls")
                error = 1.96 * here[f"{metric}_se"]
                values = here.assign(value=here[metric], low=here[metric] - error, high=here[metric] + error)
                _line(axes, values, "calls", method, number_, "-" if here["ours"].all() else "--")
                tables.append(
                    values[["method", "mu", "calls", "per_image", "value", "low", "high", "n"]].assign(metric=metric)
                )
            axes.set_xscale("log")
            if row == 0:
                axes.set_title(f"µ = {mu:g}")
            if row == len(measures) - 1:
                axes.set_xlabel("network calls")
        panels[row, 0].set_ylabel(METRICS[metric].label)
    _legend(figure, panels, 5)
    return figure, pd.concat(tables, ignore_index=True)


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
        error = np.abs(both["value"] / both["achieved_value"] - 1)
        logs = np.log(both[["value", "achieved_value"]])
        r2 = (
            1
            - ((logs["achieved_value"] - logs["value"]) ** 2).sum()
            / ((logs["achieved_value"] - logs["achieved_value"].mean()) ** 2).sum()
        )
        for number_, ((prior, attack), rows) in enumerate(both.groupby(["prior", "attack"], sort=False)):
            axes.plot(
                rows["value"], rows["achieved_value"], MARKERS[number_ % len(MARKERS)], markersize=3,
                color=PALETTE[number_ % len(PALETTE)], label=f"{LABELS.get(prior, prior)}, {LABELS[attack]}",
            )  # fmt: skip
        ends = [both["value"].min() * 0.9, both["value"].max() * 1.1]
        axes.plot(ends, ends, color="black", linewidth=0.7, linestyle=":")
        axes.set(xscale="log", yscale="log", xlabel="predicted MSE")
        axes.set_title(f"{title}: R² (log) {r2:.3f}, worst {100 * error.max():.0f} %")
        tables.append(both.assign(source=source))
    panels[0].set_ylabel("achieved MSE")
    _legend(figure, panels, 3)
    return figure, pd.concat(tables, ignore_index=True)


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
        at_most = found[found["draws"] == most]
        _line(panels[0, 1], at_most, "mu", label, number_)
        tables.append(found.assign(prior=prior, quantity="estimate / achieved"))
        pixels = rows[rows["metric"] == "pixels"].set_index(["image", "mu", "place"])["value"]
        for mu in sorted(rows["mu"].unique())[:: max(1, table["mu"].nunique() - 1)]:
            tables.append(_reliability(panels[1, number_], rows, pixels, mu).assign(prior=prior))
        panels[1, number_].set_title(f"{label}: error against spread")
    spread = tables[1]
    for number_, (mu, rows) in enumerate(spread.groupby("mu")):
        _line(panels[0, 2], rows, "draws", f"µ = {mu:g}", number_)
    _log_axis(panels[0, 2], spread["draws"], "draws")
    for number_, (band, rows) in enumerate(right[right["metric"] == "estimated_band"].groupby("place")):
        base = right[(right["metric"] == "achieved_band") & (right["place"] == band)]
        found = intervals(rows, ["place", "mu"], base)
        _line(panels[1, 2], found, "mu", f"band {band + 1} of {right['place'].max()}", number_ + 4)
        tables.append(found.assign(quantity="estimate / achieved by frequency"))
    for axes in (panels[0, 0], panels[0, 1], panels[1, 2]):
        _log_axis(axes, table["mu"], "µ = C/σ")
    for axes in (panels[0, 1], panels[0, 2], panels[1, 2]):
        axes.axhline(1, color="black", linewidth=0.7, linestyle=":")
        axes.set_ylabel("estimated / achieved MSE")
    for axes in panels.flat:
        axes.legend(frameon=False, fontsize=style["font_size"] - 2.5)
    return figure, pd.concat(tables, ignore_index=True)


def _ranks(axes, right: pd.DataFrame, most: int) -> pd.DataFrame:
    """Spearman's rho with the achieved error within each mu: the estimate, and baselines from one draw."""
    found = []
    for mu, rows in right.groupby("mu"):
        achieved = rows[rows["metric"] == "achieved_mse"].set_index("image")["value"]
        for name in ESTIMATES:
            part = rows[(rows["metric"] == name) & rows["draws"].isin((most, 1))].set_index("image")["value"]
            value = stats.rank_correlation(part.loc[achieved.index].to_numpy(), achieved.to_numpy(), 0)
            found.append((name, mu, *value, len(achieved)))
    table = pd.DataFrame(found, columns=["estimate", "mu", "value", "low", "high", "n"])
    for number_, (name, label) in enumerate(ESTIMATES.items()):
        _line(axes, table[table["estimate"] == name], "mu", label, number_)
    axes.axhline(0, color="black", linewidth=0.7, linestyle=":")
    axes.set_ylabel("rank correlation with the error")
    return table.assign(quantity="rank correlation")


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
    _line(axes, table, "spread", f"µ = {mu:g}", int(np.log(mu) * 2) % 7)
    ends = [0, np.nanmax([*table["spread"], 0.1])]
    axes.plot(ends, ends, color="black", linewidth=0.7, linestyle=":")
    axes.set(xlabel="pixel's std between draws", ylabel="pixel's error (root mean square)")
    return table.assign(quantity="reliability")


MEASURES = {
    "mse": "MSE",
    "ssim": "SSIM",
    "lpips": "LPIPS",
    "bits": "bits leaked",
    "bits_per_dof": "bits / resolved\ndegree of freedom",
    "recovered": "share of variance\nrecovered",
    "recovered_low": "the same, coarse\npatterns only",
}


def scale(results, style: dict):
    """A row a data set, a column a measure: its value over mu, a line a size; titles say how alike sizes are ranked."""
    table = read(results, "scale")
    found, judged = _scale_values(table), _scale_ranks(table)
    sources = list(dict.fromkeys(table["source"]))
    shape = (len(sources), len(MEASURES))
    figure, panels = plt.subplots(*shape, figsize=styles.size(style, 0.12 + 0.26 * len(sources)), squeeze=False)
    for row, source in enumerate(sources):
        for axes, (measure, label) in zip(panels[row], MEASURES.items()):
            here = found[(found["source"] == source) & (found["metric"] == measure)]
            for number_, (_, rows) in enumerate(here.groupby("size")):
                _line(axes, rows, "mu", ("smallest", "second", "third", "largest")[number_ % 4] + " size", number_)
            note = judged[(judged["source"] == source) & (judged["metric"] == measure)]
            axes.set_title(f"{label}\nρ {note['value'].min():.2f}" if len(note) else label)
            axes.set_xscale("log")
            axes.tick_params(labelsize=style["font_size"] - 3)
            if measure in ("mse", "bits", "bits_per_dof"):
                axes.set_yscale("log")
        sizes = ", ".join(f"{size}" for size in sorted(table.loc[table["source"] == source, "size"].unique()))
        panels[row, 0].set_ylabel(f"{source}\n{sizes} pixels a side")
    for axes in panels[-1]:
        axes.set_xlabel("µ")
    _legend(figure, panels, 4)
    return figure, pd.concat([found, judged], ignore_index=True)


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


DISTANCES = {"kl": "KL up to this µ", "frechet": "Fréchet, features", "pixels": "Fréchet, pixels"}


def shift(results, style: dict):
    """Left: the matrix of losses, prior against target; right: how well each distance ranks them, by mu."""
    table = read(results, "shift")
    mus = sorted(table["mu"].dropna().unique())
    middle = mus[len(mus) // 2]
    figure, panels = plt.subplots(1, 2, figsize=styles.size(style, 0.52), width_ratios=(1.4, 1))
    order = [*dict.fromkeys(table["target"].dropna()), "no class known"]
    matrix = _loss(table, middle).rename("loss").reset_index()
    matrix = matrix.pivot_table(index="prior", columns="target", values="loss").loc[order, order[:-1]]
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
        _line(panels[1], ranks[ranks["distance"] == kind], "mu", label, number_)
    _log_axis(panels[1], mus, "µ = C/σ")
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
    models = list(dict.fromkeys(table["model"]))
    figure, panels = plt.subplots(len(models), 2, figsize=styles.size(style, 0.48 * len(models)), squeeze=False)
    tables = []
    for row, model in enumerate(models):
        part = table[table["model"] == model]
        base = part[part["method"] == "plain"].set_index(["epsilon", "seed"])["value"]
        for number_, ((method, public), label) in enumerate(FILTERS.items()):
            runs = part[(part["method"] == method) & (part["public"] == public)]
            for column, quantity in enumerate(("accuracy", "gain over plain")):
                rows = []
                for epsilon, same in runs.groupby("epsilon"):
                    values = same.set_index(["epsilon", "seed"])["value"]
                    values = (values - base.loc[values.index]) if column else values
                    rows.append((epsilon, *_t_interval(values.to_numpy()), len(values)))
                found = pd.DataFrame(rows, columns=["epsilon", "value", "low", "high", "n"])
                if len(found) and not (column and method == "plain"):
                    _line(panels[row, column], found, "epsilon", label, number_, "--" if public == "shifted" else "-")
                tables.append(found.assign(model=model, method=method, public=public, quantity=quantity))
        panels[row, 0].set_ylabel(f"{model}: test accuracy")
        panels[row, 1].set_ylabel("gain over plain DP-SGD, paired")
        panels[row, 1].axhline(0, color="black", linewidth=0.7, linestyle=":")
        for axes in panels[row]:
            _log_axis(axes, part["epsilon"], "ε at δ = 1e-5")
    _legend(figure, panels, 3)
    return figure, pd.concat(tables, ignore_index=True)


def _t_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and 95 % interval of few runs, by Student's t; a single run has none."""
    if len(values) < 2:
        return float(values.mean()), float(values.mean()), float(values.mean())
    half = float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return float(values.mean()), float(values.mean()) - half, float(values.mean()) + half


FIGURES = {
    "dpsgd": dpsgd,
    "shift": shift,
    "scale": scale,
    "draws": draws,
    "prediction": prediction,
    "peers": peers,
    "calls": calls,
    "calibration": calibration,
    "averaging": averaging,
    "knowledge": knowledge,
    "rounds": rounds,
    "gradients": gradients,
}
