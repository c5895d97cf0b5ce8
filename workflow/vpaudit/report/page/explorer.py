"""What the moving part of the page needs: the tables' values by noise level, as plain data that the page embeds."""

import json
import math

import pandas as pd

from vpaudit.base.labels import LOOKS, METRICS, number, power
from vpaudit.report.page.sprites import Output, Sprites, scale
from vpaudit.report.results import ATTACKS, Results, limits
from vpaudit.report.words import at


def data(study: Results, outputs: list[Output], places: list[int], sprites: Sprites | None, levels: list[dict]) -> dict:
    """Everything that the page's script reads.

    Args:
        outputs: rows of the sheets; places: of the images shown, in targets.npz.
        sprites: None for a page without images.
        levels: `words.audit`.
    """
    with study.arrays("targets") as file:
        ids, labels, classes = (file[key] for key in ("ids", "labels", "class_names"))
    own, measured = _own_values(study, [int(i) for i in ids[places]]), study.measured
    return {
        "mu": study.mu,
        "muText": [f"{mu:g}" for mu in study.mu],
        "epsilon": [number(study.epsilon(mu)) for mu in study.mu],
        "delta": power(study.config["mechanism"]["delta"]),
        "noise": [_noise(study, mu) for mu in study.mu],
        "tile": None if sprites is None else [sprites.width, sprites.height, sprites.gap],
        "outputs": [{"label": o.label, "several": o.several} for o in outputs],
        "first": first(outputs),
        "images": [
            {
                "name": _name(i, "" if study.local or labels[place] < 0 else str(classes[labels[place]])),
                "values": {m: [_row(own, study, int(ids[place]), m, o) for o in outputs] for m in measured},
                "spread": _spread(study, int(ids[place])),
            }
            for i, place in enumerate(places)
        ],
        "metrics": [_metric(name) for name in measured],
        "panels": [_panel(study, name) for name in study.panels if name in study.metrics["metric"].unique()],
        "shows": [level["shows"] for level in levels],
        "sentences": [level["sentences"] for level in levels],
    }


def first(outputs: list[Output]) -> int:
    """The output shown at first: the paper's attack, else the first with a prior."""
    found = [i for i, o in enumerate(outputs) if (o.prior, o.attack) == ("unconditional", "ddim")]
    return found[0] if found else min(1, len(outputs) - 1)


def text(content: dict) -> str:
    """JSON that is safe inside <script>."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def colours() -> dict[str, str]:
    """One colour an attack, as in the figures."""
    return {attack: LOOKS[attack].colour for _, attack in ATTACKS}


def _name(number_: int, class_: str) -> str:
    return f"image {number_ + 1}" + (f": {class_}" if class_ else "")


def _noise(study: Results, mu: float) -> str:
    law = at(study.bound("uninformed", "mse"), mu)
    return "" if law is None else number(math.sqrt(law["value"]))


def _short(value) -> float | None:
    """Six significant digits; None for what JSON cannot hold."""
    value = float(value)
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _own_values(study: Results, images: list[int]) -> pd.DataFrame:
    """(image, metric, prior, attack, draw) x mu of these images."""
    t = study.metrics[study.metrics["image"].isin(images)]
    wide = t.pivot_table(index=["image", "metric", "prior", "attack", "draw"], columns="mu", values="value")
    return wide.reindex(columns=study.mu)


def _row(own: pd.DataFrame, study: Results, image: int, metric: str, output: Output) -> list[float | None]:
    """An output's metric by mu."""
    key = (image, metric, output.prior, output.attack, output.draw)
    return [_short(v) for v in own.loc[key]] if key in own.index else [None] * len(study.mu)


def _spread(study: Results, image: int) -> list[float | None]:
    """Root mean square over pixels of the std between samples, by mu; empty if there are no samples."""
    t = study.agreement
    t = t[(t["image"] == image) & (t["metric"] == "pixel_std") & (t["prior"] == "unconditional")]
    found = t.groupby("mu")["agreement"].first().reindex(study.mu)
    return [] if found.isna().all() else [_short(v) for v in found]


def _metric(name: str) -> dict:
    return {
        "name": name,
        "label": METRICS[name].label,
        "closer": "higher" if METRICS[name].higher_is_better else "lower",
    }


def _panel(study: Results, name: str) -> dict:
    """Curves, bounds, baselines and limits of one metric's chart."""
    compared = study.compared(name)
    curves = [_curve(rows, study, look) for look, rows in compared.groupby("look", sort=False)]
    return {
        **_metric(name),
        "log": name == "mse",
        "limits": [_short(v) for v in limits(name, compared)],
        "curves": [curve for curve in curves if curve["mark"]],
        "lines": [curve for curve in curves if not curve["mark"]],
    }


def _curve(table: pd.DataFrame, study: Results, key: str) -> dict:
    """value, low, high by mu of a curve, and its look."""
    look = LOOKS[key]
    rows = [at(table, mu) for mu in study.mu]
    columns = {k: [None if row is None else _short(row[k]) for row in rows] for k in ("value", "low", "high")}
    return {"key": key, "label": look.label, "dash": " ".join(map(str, look.dash)), "mark": look.marker, **columns}


def legend(count: int = 12) -> list[str]:
    """Colours of the map of disagreement from its dark end to its light one, for CSS."""
    return [f"rgb({r} {g} {b})" for r, g, b in scale(count)]
