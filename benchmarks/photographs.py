"""Whole photographs under the prior of any size: other libraries at 256 x 256, and the same images at four sizes.

    python benchmarks/photographs.py peers      # into results/priors/peers_256.csv and contest_256.csv
    python benchmarks/photographs.py sizes      # into results/priors/sizes.csv and figures/priors/sizes.png

`peers`: every method sees the same images under the same noise, of which it is told the level. Other libraries and our
samplers call the same prior (peers.py) about as often; classical denoisers call none. Seconds: of this process's CPU
time for an image, on one thread, so that other work on the machine counts little. gain: decibels over our DDIM at as
many calls (at the fewest, for a method that was asked for another number) on the same images; lpips_ratio: of mean
LPIPS to its; each with its 95 % interval over images. In contest_256.csv: who is ahead, as experiments/peers reads it,
and classical denoisers over our posterior mean.

`sizes`: images reduced by area averages, each released at equal mu; share: MSE over that between unrelated images of
that size; coarse: MSE after both images are reduced to 32 x 32. mse_ratio, coarse_ratio: to the same at 32 x 32.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import peers
import skimage.restoration
import torch
from tqdm import tqdm

from vpaudit import data
from vpaudit.attack import reconstruct
from vpaudit.base import files, pixels, places, stats
from vpaudit.base.randomness import KeyedNoise
from vpaudit.experiments.peers.figure import contest
from vpaudit.experiments.scale.run import resized
from vpaudit.measure import metrics
from vpaudit.priors import find, network
from vpaudit.privacy.mechanism import Mechanism, release_analytic
from vpaudit.report.figures import panels
from vpaudit.report.figures import style as styles
from vpaudit.study.config import Attack

CALLS = {50: (8, 20), 25: (8,), 100: (8,)}  # by noise in grey levels of 255
ONE_SIZE = {"posterior mean": (1,)}
DEAR = {"deepinv DPS": 50}  # it needs gradients, three times the work of a call: at this noise, for the fewest calls
LEFT_OUT = ("diffusers-dmse", "multistep 2", "fitted few-step")
BASE = "DDIM"
SIDES = (32, 64, 128, 256)
MU = (2.0, 10.0, 50.0, 200.0)
ATTACKS = (Attack(name="posterior_mean", kind="posterior_mean"), Attack(name="ddim", kind="ddim", steps=8))


def non_local_means(noisy: np.ndarray, sigma: float) -> np.ndarray:
    """As in scikit-image's example with a known sigma; images (H, W, C) on [0, 1]."""
    window = {"patch_size": 5, "patch_distance": 6, "fast_mode": True}
    return skimage.restoration.denoise_nl_means(noisy, h=0.6 * sigma, sigma=sigma, channel_axis=-1, **window)


def wavelets(noisy: np.ndarray, sigma: float) -> np.ndarray:
    """BayesShrink as in scikit-image's example, told sigma."""
    options = {"method": "BayesShrink", "mode": "soft", "convert2ycbcr": True, "rescale_sigma": True}
    return skimage.restoration.denoise_wavelet(noisy, sigma=sigma, channel_axis=-1, **options)


CLASSICAL = {"non-local means": non_local_means, "wavelets": wavelets}


def classical(denoise: Callable, y: torch.Tensor, s: float) -> torch.Tensor:
    """Images of y = x + s z by a denoiser of [0, 1], where the noise is s / 2."""
    unit = [denoise(image.permute(1, 2, 0).double().numpy(), s / 2) for image in (y + 1) / 2]
    return (2 * torch.from_numpy(np.stack(unit)).float().permute(0, 3, 1, 2) - 1).clamp(pixels.LOW, pixels.HIGH)


def runs(prior: network.NetworkPrior, y: torch.Tensor, s: float, grey: int) -> Iterator[tuple]:
    """Method, calls asked for, calls made, images, of every method in turn."""
    for name, denoise in CLASSICAL.items():
        yield name, 0, 0, classical(denoise, y, s)
    for name in (name for name in (*peers.OURS, *peers.PEERS) if name not in LEFT_OUT):
        if DEAR.get(name, grey) != grey:
            continue
        for asked in ONE_SIZE.get(name, CALLS[grey][:1] if name in DEAR else CALLS[grey]):
            images, made = peers.run(name, prior, y, s, asked)
            yield name, asked, made, images


def compared(prior: network.NetworkPrior, x: torch.Tensor) -> Iterator[pd.DataFrame]:
    """A table a noise level, one row an image, run and metric (mse, psnr, lpips_vgg), as `contest` reads it."""
    lpips = metrics.Lpips()
    features = lpips.features(x)
    for grey in CALLS:
        s = 2 * grey / 255
        y = x + s * KeyedNoise([(0, "photographs", grey, i) for i in range(len(x))], x.shape[1:])()
        begun, tables = time.process_time(), []
        for name, asked, made, images in tqdm(runs(prior, y, s, grey), desc=f"{grey}", disable=None, ncols=79):
            spent = (time.process_time() - begun) / len(x)
            values = {"mse": metrics.mse(images, x), "psnr": metrics.psnr(images, x)}
            values["lpips_vgg"] = lpips.distance(lpips.features(images), features)
            about = {"grey_levels": grey, "method": name, "ours": name in peers.OURS, "asked": asked, "calls": made}
            for metric, value in values.items():
                rows = {"image": np.arange(len(x)), "metric": metric, "value": value.double().numpy()}
                tables.append(pd.DataFrame(about | {"seconds": spent} | rows))
            begun = time.process_time()
        yield pd.concat(tables, ignore_index=True)


def quality(table: pd.DataFrame) -> pd.DataFrame:
    """A row a run: psnr and lpips with intervals, and both against our DDIM on the same images."""
    found, keys = [], ["grey_levels", "method", "ours", "asked", "calls", "seconds"]
    for grey, level in table.groupby("grey_levels", sort=False):
        for key, rows in level.groupby(keys, sort=False):
            fair = key[3] if key[3] in CALLS[grey] else CALLS[grey][0]
            base = level[(level["method"] == BASE) & (level["asked"] == fair)]
            of, to = (part.pivot_table("value", "image", "metric") for part in (rows, base))
            row = dict(zip(keys, key)) | {"n": len(of), "to_calls": fair}
            row |= dict(zip(("psnr", "low", "high"), stats.bootstrap(of["psnr"])))
            row |= dict(zip(("gain", "gain_low", "gain_high"), stats.bootstrap(of["psnr"] - to["psnr"])))
            row |= dict(zip(("lpips", "lpips_low", "lpips_high"), stats.bootstrap(of["lpips_vgg"])))
            ratio = stats.ratio(of["lpips_vgg"], to["lpips_vgg"])
            found.append(row | dict(zip(("lpips_ratio", "lpips_ratio_low", "lpips_ratio_high"), ratio)))
    return pd.DataFrame(found)


def sizes(prior: network.NetworkPrior, whole: torch.Tensor) -> pd.DataFrame:
    """A row a side, mu and attack; whole float32 (N, C, 256, 256)."""
    ids, found, smallest = torch.arange(len(whole)), [], {}
    coarse = resized(whole, SIDES[0])
    for side in SIDES:
        x = resized(whole, side)
        unrelated = metrics.mse(x.roll(1, 0), x).double().numpy()
        for mu in tqdm(MU, desc=f"{side}", disable=None, ncols=79):
            seen = release_analytic(x, ids, ids, Mechanism(mu), f"sizes {side}", 0)
            for attack in ATTACKS:
                images = reconstruct.reconstruct(seen, prior, attack, 0)
                errors = {"mse": metrics.mse(images, x), "coarse": metrics.mse(resized(images, SIDES[0]), coarse)}
                errors = {name: error.double().numpy() for name, error in errors.items()}
                own = smallest.setdefault((mu, attack.name), errors)
                row = {"side": side, "mu": mu, "attack": attack.name, "n": len(x), "s": float(seen.s.mean())}
                row |= {"unrelated": float(unrelated.mean())}
                for name, error in errors.items():
                    row |= _interval(name, stats.bootstrap(error))
                    row |= _interval(f"{name}_ratio", stats.ratio(error, own[name]))
                found.append(row | _interval("share", stats.ratio(errors["mse"], unrelated)))
    return pd.DataFrame(found)


def _interval(name: str, found: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), found))


def drawn(table: pd.DataFrame):
    """Error of the posterior mean over mu, a line a side: of whole images, and of what is left of them at 32 x 32."""
    style, parts = styles.get("default"), {"mse": "whole images", "coarse": "reduced to 32×32"}
    table = table[table["attack"] == "posterior_mean"].assign(pixels=lambda t: [f"{side}×{side}" for side in t["side"]])
    ends = {"": "value", "_low": "low", "_high": "high"}
    tables = [
        table[["mu", "pixels"]].assign(of=of, **{end: table[f"{name}{part}"] for part, end in ends.items()})
        for name, of in parts.items()
    ]
    with plt.rc_context(styles.rc(style)):
        grid = panels.lines(pd.concat(tables), "mu", "pixels", style, 0.45, col="of")
        for axes, unrelated in zip(
            grid.axes.flat, table["unrelated"].iloc[[-1, 0]]
        ):  # of the largest and smallest side
            panels.level(axes, unrelated, "unrelated images")
            axes.set_yscale("log")
        panels.log_axis(grid.axes.flat, MU, panels.MU)
        grid.axes[0, 0].set_ylabel("MSE")
        return panels.legend(grid.figure, 5)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("peers", "sizes"))
    parser.add_argument("--images", type=int, default=8, help="test photographs, >= 2 (default: %(default)s)")
    parser.add_argument("--data", default="photos_256_local", help="card of data/cards.yaml (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=places.home() / "results/priors", help="(default: %(default)s)")
    parser.add_argument("--figures", type=Path, default=places.home() / "figures/priors", help="(default: %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    prior = network.load(find.names()["photographs"], precision="auto")
    images = data.load(arguments.data, "test")
    x = pixels.from_uint8(data.select(images, arguments.images, 0).images)
    for name, table in (_peers(prior, x) if arguments.what == "peers" else {"sizes": sizes(prior, x)}).items():
        with files.atomic(arguments.results / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False, float_format="%.5g")
        print(table.to_string(index=False))
        if name == "sizes":
            with files.atomic(arguments.figures / "sizes.png") as temporary:
                drawn(table).savefig(temporary, format="png", dpi=styles.get("default")["dpi"])


def _peers(prior: network.NetworkPrior, x: torch.Tensor) -> dict[str, pd.DataFrame]:
    """`quality`, and who is ahead: `contest`, and classical denoisers over our posterior mean."""
    table = pd.concat(compared(prior, x), ignore_index=True)
    told = table[table["metric"] != "psnr"].rename(columns={"grey_levels": "mu"})
    asked = ~told["method"].isin(CLASSICAL)
    ahead = [contest(told[asked])]
    for metric, rows in told.groupby("metric", sort=False):
        ratios = panels.intervals(rows[~asked], ["method", "mu"], rows[rows["method"] == "posterior mean"])
        ahead.append(ratios.assign(quantity="classical / posterior mean", metric=metric))
    return {"peers_256": quality(table), "contest_256": pd.concat(ahead).rename(columns={"mu": "grey_levels"})}


if __name__ == "__main__":
    main()
