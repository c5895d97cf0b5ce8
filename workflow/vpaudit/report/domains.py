"""Several finished studies side by side, a data set each: the paper's main figure, one picture, and its claims."""

from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from vpaudit.base import files, pixels
from vpaudit.base.errors import VpauditError
from vpaudit.base.labels import LPIPS, METRICS
from vpaudit.report import figures, recognition
from vpaudit.report.figures import curves, grid
from vpaudit.report.figures.axes import legend, lines
from vpaudit.report.figures.panels import read
from vpaudit.report.results import STRONGEST, Results, ends

COLUMNS = ("mse", "lpips", "ssim")  # of the paper's main figure
OFF_PANELS = ("raw", "ddpm", "given_norm")  # looks that the study's own figure shows
CAPTION = "Success over µ by data set; bands are 95 % intervals over images. Rows:"
PICTURED = (
    "One target of each data set; what is released of it at each µ, the posterior mean, and one posterior sample."
)
RECOGNISED = (
    "What is recognised over µ by study: how often an output is nearer to its target than to all others of so many "
    "candidates, and how often its class is named; against guessing, and the most that any adversary reaches who is "
    "told no more than who guesses (theorem). Bands are 95 % intervals over images."
)
PICTURE = (("unconditional.posterior_mean", "posterior mean"), ("unconditional.ddpm", "sample"))


class Study(Results):
    """A finished study under the name of its images."""

    @property
    def title(self) -> str:
        return self.config["study"]

    def metric(self, column: str) -> str:
        """The metric of a column: LPIPS at the images' size, or enlarged where they are small."""
        if column != "lpips":
            return column
        return next((m for m in LPIPS if m in self.measured), LPIPS[0])

    @property
    def strongest_attack(self) -> str:
        """That by whose end reconstruction is said to have ended."""
        attacks = set(self.metrics["attack"])
        return next(attack for attack in ("ddim", *STRONGEST) if attack in attacks)


def studies(folders: list[Path]) -> list[Study]:
    """The studies of result folders.

    Raises:
        VpauditError: a folder holds no finished study, or two have the same name.
    """
    found = [Study(Path(folder)) for folder in folders]
    for study in found:
        if not (study.folder / "summary.json").exists():
            raise VpauditError(f"{study.folder} holds no summary.json", "run its study to the end first")
    names = [study.title for study in found]
    if len(set(names)) < len(names):
        raise VpauditError(f"studies of the same name: {', '.join(sorted(names))}", "give each of them once")
    return found


def draw(found: list[Study], style: dict):
    """Rows data sets, columns MSE, LPIPS, SSIM over mu, with bounds, baselines and the axis in epsilon; the numbers."""
    tables = {
        (study.title, column): study.compared(study.metric(column))
        for study in found
        for column in COLUMNS
        if study.metric(column) in study.measured
    }
    tables = {key: table[~table["look"].isin(OFF_PANELS)] for key, table in tables.items()}
    table = pd.concat([rows.assign(study=name, metric=metric) for (name, metric), rows in tables.items()])
    drawn = lines(
        table[~table["look"].isin((*curves.BASELINES, *curves.BOUNDS))], style, 0.1 + 0.3 * len(found), "look",
        row="study", col="metric", row_order=[study.title for study in found], col_order=COLUMNS,
        facet_kws={"sharex": False, "sharey": False},
    )  # fmt: skip
    for study in found:
        for column in COLUMNS:
            axes = drawn.axes_dict[study.title, column]
            if (study.title, column) in tables:
                rows = tables[study.title, column]
                curves.panel(axes, study, study.metric(column), rows, style["colours"], len(COLUMNS))
            else:
                axes.axis("off")
        first = drawn.axes_dict[study.title, COLUMNS[0]]
        first.set_ylabel(f"{study.title}, n = {study.images}\n{first.get_ylabel()}")
    legend(drawn.figure, style, table["look"].unique(), len(COLUMNS) + 1)
    return drawn.figure, table


def picture(found: list[Study], style: dict):
    """One target a study; over mu what is released of it, its posterior mean and one posterior sample; their MSE."""
    columns = 1 + max(len(study.mu) for study in found)
    rows = 1 + len(PICTURE)
    side = style["width"] / (columns + 1.4)
    size = (style["width"], (rows * side + 0.3) * len(found))
    ids = []
    figure, axes = plt.subplots(rows * len(found), columns, figsize=size, squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.axis("off")
    for block, study in enumerate(found):
        own = axes[rows * block : rows * (block + 1)]
        with study.arrays("targets") as file:
            place = grid.spread(file["labels"][: study.in_arrays()], 1)[0]
            ids.append(file["ids"][place])
            _tile(own[0, 0], pixels.signed(file["images"][place]), f"{study.title}\nµ =")
        for column, (mu, tiles) in enumerate(_tiles(study, place), 1):
            for axis, tile in zip(own[:, column], tiles):
                _tile(axis, tile, f"{mu:g}" if axis is own[0, column] else "")
        for axis, name in zip(own[:, 0], ("", *(name for _, name in PICTURE))):
            axis.text(1.0, 0.5, name, ha="right", va="center", transform=axis.transAxes)
    tables = [study.metrics[study.metrics["image"] == id_].assign(study=study.title) for study, id_ in zip(found, ids)]
    return figure, pd.concat(tables, ignore_index=True).query("metric == 'mse'")


def _tiles(study: Study, place: int) -> Iterator[tuple[float, list[np.ndarray]]]:
    """mu; released, posterior mean, sample of one target, (H, W, C) each."""
    for mu in study.mu:
        with study.arrays("observations", mu) as seen, study.arrays("reconstructions", mu) as made:
            released = seen["y"][place] / pixels.per_image(seen["lam"])[place]
            tiles = [released, *(pixels.unpacked(made[name][0, place]) for name, _ in PICTURE if name in made.files)]
            yield mu, [tile.transpose(1, 2, 0) for tile in tiles]


def _tile(axis, image: np.ndarray, title: str) -> None:
    axis.imshow(pixels.to_unit(image), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axis.set_title(title, fontsize="small")


def about(found: list[Study]) -> pd.DataFrame:
    """study, n, side, prior, images_seen, mu_low, mu_high; hours: of all its jobs, one after another."""
    rows = []
    for study in found:
        summary, run = (files.read_json(study.folder / f"{name}.json") for name in ("summary", "run"))
        with study.arrays("targets") as file:
            side = file["images"].shape[1]
        rows.append({
            "study": study.title, "n": study.images, "side": side, "prior": Path(study.config["prior"]["path"]).name,
            "images_seen": summary["prior"]["images_seen"], "mu_low": min(study.mu), "mu_high": max(study.mu),
            "hours": sum(run["wall_time"].values()) / 3600,
        })  # fmt: skip
    return pd.DataFrame(rows)


def claims(found: list[Study]) -> pd.DataFrame:
    """name, paper, study, verdict, value, low, high, n: every claim that a study judged, studies in their order."""
    columns = ["name", "paper", "verdict", "value", "low", "high", "n"]
    tables = [pd.DataFrame(files.read_json(study.folder / "summary.json")["claims"])[columns] for study in found]
    return pd.concat([table.assign(study=study.title) for table, study in zip(tables, found)], ignore_index=True)


def endings(found: list[Study]) -> pd.DataFrame:
    """study, metric, attack, margin, mu: up to which less of the distance is recovered; at_5, low, high: share at 5."""
    rows = []
    for study in found:
        attack = study.strongest_attack
        for metric in map(study.metric, COLUMNS):
            shares = study.recovered(attack, metric)
            at_5 = shares[np.isclose(shares["mu"], 5)]
            there = dict(zip(("at_5", "low", "high"), at_5[["value", "low", "high"]].to_numpy().ravel()))
            about = {"study": study.title, "metric": METRICS[metric].label, "attack": attack, "n": study.images}
            rows += [{**about, "margin": m, "mu": mu, **there} for m, mu in ends(shares, study.margins).items()]
    return pd.DataFrame(rows)


def write(found: list[Study], results: Path, folder: Path, shown: list[str], style: str | dict = "default") -> None:
    """results/{studies,claims,endings}.csv; into the folder figure `domains`, and `picture` of the studies `shown`."""
    names = ", ".join(study.title for study in found)
    figures.write("domains", lambda _, look: draw(found, look), f"{CAPTION} {names}.", results, folder, style)
    pictured = [study for study in found if study.title in shown]
    if pictured:
        figures.write("picture", lambda _, look: picture(pictured, look), PICTURED, results, folder, style)
    for name, rows in {"studies": about(found), "claims": claims(found), "endings": endings(found)}.items():
        _write_table(results / f"{name}.csv", rows)


def write_recognised(folders: list[Path], results: Path, folder: Path, style: str | dict = "default") -> None:
    """results/recognition.csv and, into the folder, figure `recognition`: of studies with that experiment."""
    shares = {
        Study(path).title: recognition.shares(read(path, "experiments/recognition")) for path in map(Path, folders)
    }
    found = pd.concat([table.assign(study=name) for name, table in shares.items()], ignore_index=True)
    figures.write(
        "recognition", lambda _, look: (recognition.draw(found, look), found), RECOGNISED, results, folder, style
    )
    ends = [recognition.ends(table).assign(study=name) for name, table in shares.items()]
    _write_table(results / "recognition.csv", pd.concat(ends, ignore_index=True))


def _write_table(path: Path, rows: pd.DataFrame) -> None:
    with files.atomic(path) as temporary:
        rows.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
