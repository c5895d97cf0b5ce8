"""Figures of the experiments on the attack engine, from results/<study>/experiments/<name>.parquet."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import LogFormatterSciNotation, LogLocator, NullFormatter, StrMethodFormatter

from vpaudit.base import stats
from vpaudit.base.labels import METRICS
from vpaudit.base.pixels import DATA_RANGE
from vpaudit.report.figures import style as styles
from vpaudit.report.figures.panels import PALETTE, intervals, legend, line, log_axis, read

SOLVERS = {
    "ddim": "DDIM",
    "heun": "Heun",
    "multistep_2": "DPM-Solver++ 2M",
    "multistep_3": "multistep of order 3",
    "few_step": "fitted to the prior",
}


def calls(results, style: dict):
    """A row a measure, a column a mu: quality relative to the converged output, and the distance to it.

    Of a long grid every other mu is drawn; the CSV file has them all.
    """
    table = read(results, "calls")
    measures = [m for m in ("mse", "ssim", "lpips_vgg_64") if m in set(table["metric"])]
    mus = _shown(table)
    shape = (len(measures) + 1, len(mus))
    figure, panels = plt.subplots(*shape, figsize=styles.size(style, 1.05), sharex=True, sharey="row", squeeze=False)
    tables = []
    for row, metric in enumerate([*measures, "rmse_converged"]):
        rows = table[table["metric"] == metric]
        base = None if metric == "rmse_converged" else rows[rows["solver"] == "converged"]
        found = intervals(rows[rows["solver"].isin(SOLVERS)], ["solver", "calls", "mu"], base)
        if base is None:
            found[["value", "low", "high"]] /= DATA_RANGE  # of the width of the pixel range
        tables.append(found.assign(metric=metric, relative_to="pixel range" if base is None else "converged"))
        for axes, mu in zip(panels[row], mus):
            here = found[np.isclose(found["mu"], mu)]
            for number_, (solver, label) in enumerate(SOLVERS.items()):
                line(axes, here[here["solver"] == solver], "calls", label, number_)
            _calls_axes(axes, metric, mu, row == 0, row == len(measures))
        name = "distance to\nconverged / range" if base is None else f"{METRICS[metric].label}\n/ converged"
        panels[row, 0].set_ylabel(name)
    legend(figure, panels, 5)
    return figure, pd.concat(tables, ignore_index=True)


def _shown(table: pd.DataFrame) -> list[float]:
    """The values of mu that get a column: all of a short grid, every other one of a long grid."""
    mus = sorted(table["mu"].unique())
    return mus if len(mus) <= 6 else mus[::2]


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
    names = {"ancestral": "ancestral", "multistep_2": "2nd-order SDE", "ddrm": "DDRM"}
    table = table[table["sampler"].isin(names)]
    order = list(table.groupby(["sampler", "calls"], sort=False).groups)
    for column, (targets, title) in enumerate(titles.items()):
        groups = table[table["targets"] == targets].groupby(["sampler", "calls"], sort=False)
        for (sampler, count), part in groups:
            number_ = order.index((sampler, count))
            error = part[part["metric"] == "error"]
            spread = intervals(part[part["metric"] == "pairwise"], keys, error).assign(metric="pairwise / error")
            cover = intervals(part[part["metric"] == "coverage"], keys).assign(metric="coverage")
            label = f"{names[sampler]}, {count} calls"
            line(panels[0, column], spread, "mu", label, number_)
            line(panels[1, column], cover, "mu", label, number_)
            tables += [spread, cover]
        panels[0, column].axhline(1, color="black", linewidth=0.7, linestyle=":")
        panels[1, column].axhspan(0.88, 0.92, color="black", alpha=0.12, linewidth=0)
        panels[0, column].set_title(title)
        log_axis(panels[1, column], table["mu"], "µ = C/σ")
    panels[0, 0].set_ylabel("distance between draws\n/ distance to target (MSE)")
    panels[1, 0].set_ylabel("coverage of 90 % intervals")
    legend(figure, panels, 4)
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
            line(axes, part, "calls", f"mean of draws, {names[sampler]}, {steps} calls each", number_)
        axes.axhline(1, color="black", linewidth=0.8, linestyle=":", label="posterior mean, 1 call")
        axes.set_title(f"µ = {mu:g}")
        log_axis(axes, (1, 10, 100, 1000), "network calls in all")
    for axes in panels[:, 0]:
        axes.set_ylabel("MSE / posterior mean's")
    for axes in panels.flat[len(mus) :]:
        axes.axis("off")
    legend(figure, panels, 2)
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
        line(axes, found, "mu", label, number_, dash)

    def ratio(axes, name, rows, label, number_):
        rows = rows[rows["metric"] == name]
        groups = rows.groupby(keys)["value"]
        found = pd.DataFrame({n: groups.quantile(q) for n, q in (("value", 0.5), ("low", 0.05), ("high", 0.95))})
        found = found.reset_index().assign(n=rows["image"].nunique())
        tables.append(found.assign(quantity=f"{name}, median and 5 to 95 %"))
        line(axes, found, "mu", label, number_)

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
        log_axis(axes, table["mu"], "µ = C/σ")
    panels[1, 0].set_ylabel("MSE / with σ and λ known")
    panels[0, 0].set_ylabel("median, 5 to 95 % of images")
    panels[0, 2].set_ylabel("MSE / with both known")
    legend(figure, panels, 4)
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
                    line(axes, part, "rounds", label, number_)
            axes.set_yscale("log")
            axes.set_title(f"{'µ each' if row == 0 else 'ε of µ'} = {mu:g}")
            log_axis(axes, table["rounds"], "rounds" if row else "")
        panels[row, 0].set_ylabel(f"{title}\nMSE of the posterior mean")
    legend(figure, panels, 4)
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
        line(panels[0], here, "effective", label, number_)
        panels[0].plot(here["effective"], here["simple"], color="black", linewidth=0.7, linestyle=":")
        share = intervals(
            table[(table["metric"] == "share") & (table["design"] == design)], ["design", "strength", "batch"]
        )
        alone = intervals(table[(table["metric"] == "separable") & (table["design"] == design)], ["design", "batch"])
        line(panels[1], share[share["batch"] == share["batch"].min()], "strength", label, number_)
        line(panels[2], alone, "batch", label, number_)
        tables += [share.assign(quantity="share"), alone.assign(quantity="separable")]
    panels[0].set(xscale="log", yscale="log", xlabel="effective µ = share × C/σ", ylabel="MSE of the posterior mean")
    panels[0].set_title("dotted: simple release")
    log_axis(panels[1], table["strength"], "strength of the imprint")
    panels[1].set_ylabel("image's share of the\nclipped gradient")
    log_axis(panels[2], table["batch"], "images in the batch")
    panels[2].set(ylabel="images that come apart", ylim=(0, 1.03))
    legend(figure, panels, 3)
    return figure, pd.concat(tables, ignore_index=True)


def precision(results, style: dict):
    """Left: MSE in bfloat16 over that in float32; right: root mean square between the two outputs over the range."""
    table = read(results, "precision")
    figure, panels = plt.subplots(1, 2, figsize=styles.size(style, 0.42))
    base, rows = (table[(table["metric"] == "mse") & (table["precision"] == kind)] for kind in ("float32", "bfloat16"))
    tables = []
    for number_, (sampler, part) in enumerate(rows.groupby("sampler", sort=False)):
        keys = ["sampler", "mu"]
        ratio = intervals(part, keys, base[base["sampler"] == sampler]).assign(quantity="MSE, bfloat16 / float32")
        apart = intervals(table[(table["metric"] == "rms") & (table["sampler"] == sampler)], keys)
        apart[["value", "low", "high"]] /= DATA_RANGE
        line(panels[0], ratio, "mu", sampler, number_)
        line(panels[1], apart, "mu", sampler, number_)
        tables += [ratio, apart.assign(quantity="RMS difference / range")]
    panels[0].axhline(1, color="black", linewidth=0.7, linestyle=":")
    panels[0].set_ylabel("MSE, bfloat16 / float32")
    panels[1].set_ylabel("RMS difference / range")
    panels[1].set_yscale("log")
    panels[1].yaxis.set_minor_formatter(LogFormatterSciNotation(minor_thresholds=(2, 1)))  # a decade holds but one tick
    for axes in panels:
        log_axis(axes, table["mu"], "µ = C/σ")
    legend(figure, panels[None], 4)
    return figure, pd.concat(tables, ignore_index=True)


def fitted(results, style: dict):
    """Left: quality of the fitted solver over that of the converged output; right: the distance between the two."""
    table = read(results, "fitted")
    figure, (left, right) = plt.subplots(1, 2, figsize=styles.size(style, 0.42))
    tables = []
    for number_, metric in enumerate(m for m in METRICS if m in set(table["metric"])):
        rows = table[table["metric"] == metric]
        base, found = rows[rows["solver"] == "converged"], rows[rows["solver"] == "few_step"]
        ratio = intervals(found, ["calls", "mu"], base).assign(metric=metric, relative_to="converged")
        line(left, ratio, "mu", METRICS[metric].label, number_)
        tables.append(ratio)
    apart = intervals(table[table["metric"] == "rmse_converged"], ["calls", "mu"])
    apart[["value", "low", "high"]] /= DATA_RANGE
    line(right, apart, "mu", "", len(tables))
    left.axhspan(0.99, 1.01, color="black", alpha=0.12, linewidth=0)
    left.set_ylabel(f"{table['calls'].min():g} calls / converged")
    right.axhline(0.02, color="black", linewidth=0.7, linestyle=":")
    right.set_yscale("log")
    right.set_ylabel("distance to converged / range")
    for axes in (left, right):
        log_axis(axes, table["mu"], "µ = C/σ")
    legend(figure, left, 4)
    return figure, pd.concat([*tables, apart.assign(metric="rmse_converged", relative_to="pixel range")])


def peers(results, style: dict):
    """A row a metric, a column a mu: quality against network calls, a line a method; ours solid, peers dashed.

    Of a long grid every other mu is drawn; the CSV file has them all.
    """
    table = read(results, "peers", "benchmarks")
    table = table[table["metric"].isin(["mse", "ssim", "lpips_vgg_64"])]
    measures, mus = list(table["metric"].unique()), _shown(table)
    figure, panels = plt.subplots(
        len(measures), len(mus), figsize=styles.size(style, 0.95), sharex=True, squeeze=False
    )  # fmt: skip
    values = intervals(table, ["metric", "mu", "method", "ours", "calls", "seconds"])
    for row, metric in enumerate(measures):
        for axes, mu in zip(panels[row], mus):
            here = values[(values["metric"] == metric) & (values["mu"] == mu)]
            for number_, (method, part) in enumerate(here.groupby("method", sort=False)):
                line(axes, part, "calls", method, number_, "-" if part["ours"].all() else "--")
            log_axis(axes, table["asked"], "network calls" if row == len(measures) - 1 else "", shown=(1, 3, 6, 10, 20))
            if not METRICS[metric].higher_is_better:  # the worst are ten times the best
                axes.set_yscale("log")
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
                axes.yaxis.set_minor_formatter(NullFormatter())
            if row == 0:
                axes.set_title(f"µ = {mu:g}")
        panels[row, 0].set_ylabel(METRICS[metric].label)
    legend(figure, panels, 5)
    return figure, pd.concat([values, contest(table)], ignore_index=True)


def contest(table: pd.DataFrame) -> pd.DataFrame:
    """Who is ahead, by metric and mu: ratios of means over the same images, with interval.

    "best peer / ours": the best peer of those asked for a number of calls, over the best of ours that makes no more
    calls than it made. "time / ours": of the fastest peer whose mean is at least as good as our best; NaN where none
    is. `method` names the peer. Both sides are chosen by their means, after the fact.
    """
    rows = []
    for (metric, mu), here in table.groupby(["metric", "mu"], sort=False):
        sign = -1 if METRICS[metric].higher_is_better else 1
        runs = here.groupby(["method", "ours", "asked", "calls", "seconds"], sort=False)["value"].mean().reset_index()
        runs["loss"] = sign * runs["value"]
        ours, theirs = runs[runs["ours"]], runs[~runs["ours"]]
        for asked, those in theirs.groupby("asked"):
            best = those.loc[those["loss"].idxmin()]
            mine = ours[ours["calls"] <= best["calls"]]
            pair = [_run(here, run) for run in (best, mine.loc[mine["loss"].idxmin()])]
            ratio = intervals(pair[0], ["mu"], pair[1]).iloc[0].to_dict()
            about = {"quantity": "best peer / ours", "metric": metric, "calls": asked, "method": best["method"]}
            rows.append({**about, **ratio})
        top = ours.loc[ours["loss"].idxmin()]
        as_good = theirs[theirs["loss"] <= top["loss"]].sort_values("seconds")
        name, ratio = ("none", np.nan) if as_good.empty else as_good[["method", "seconds"]].iloc[0]
        about = {"quantity": "time / ours", "metric": metric, "method": name, "n": here["image"].nunique()}
        rows.append({**about, "mu": mu, "value": ratio / top["seconds"]})
    return pd.DataFrame(rows)


def _run(table: pd.DataFrame, run: pd.Series) -> pd.DataFrame:
    """The rows of one method at one number of calls."""
    return table[(table["method"] == run["method"]) & (table["asked"] == run["asked"])]


def cost(results, style: dict):
    """Left: wall time of an attack over that of its network calls; right: calls a second, by kind of arithmetic."""
    overhead, network = (read(results, name, "benchmarks") for name in ("overhead", "network"))
    figure, (left, right) = plt.subplots(1, 2, figsize=styles.size(style, 0.42))
    overhead = overhead.assign(value=overhead["ratio"])
    for number_, ((attack, count), rows) in enumerate(overhead.groupby(["attack", "calls"], sort=False)):
        line(
            left,
            rows.assign(low=rows["ratio_low"], high=rows["ratio_high"]),
            "images",
            f"{attack}, {count} calls",
            number_,
        )
    left.axhline(1.05, color="black", linewidth=0.7, linestyle=":")
    left.set_ylabel("attack / bare network calls, wall time")
    log_axis(left, overhead["images"], "images")
    left.legend(frameon=False)
    names = network["prior"] + "\n" + network["precision"] + ", " + network["how"]
    errors = [network["ratio"] - network["low"], network["high"] - network["ratio"]]
    right.barh(names, network["ratio"], xerr=errors, color=PALETTE[0], capsize=2)
    right.set_xlabel("network calls a second / float32's")
    speed = network.assign(quantity="calls a second over float32's", value=network["ratio"])
    whole = overhead.assign(quantity="wall time / bare calls", low=overhead["ratio_low"], high=overhead["ratio_high"])
    return figure, pd.concat([whole, speed], ignore_index=True)


FIGURES = {
    "calls": calls,
    "fitted": fitted,
    "calibration": calibration,
    "averaging": averaging,
    "knowledge": knowledge,
    "rounds": rounds,
    "gradients": gradients,
    "precision": precision,
    "peers": peers,
    "cost": cost,
}
