"""Invented results/<study>/ files in the real formats, so that figures and report are tested without any stage."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image
from scipy.stats import norm

MU = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0)
EPSILON = (4.38, 10.0, 17.1, 33.1, 91.8, 284.0, 1462.0, 5426.0)  # at delta = 1e-5
ATTACKS = (  # prior, attack, draws, error relative to the posterior mean's
    ("none", "raw", 1, 5.0),
    ("gaussian", "wiener", 1, 1.6),
    ("unconditional", "posterior_mean", 1, 1.0),
    ("true_class", "posterior_mean", 1, 0.8),
    ("wrong_class", "posterior_mean", 1, 1.3),
    ("unconditional", "ddim", 1, 1.3),
    ("unconditional", "ddpm", 3, 1.8),
    ("unconditional", "given_norm", 1, 0.9),
    ("unconditional", "ddim_untold", 1, 1.4),
)
UNTOLD = {"sigma": "known", "lam": "norm"}
LADDER_DDIM = (("true_class", "ddim", 1, 1.1), ("wrong_class", "ddim", 1, 1.6))
UNRELATED = {"mse": 0.68, "ssim": 0.2, "ncc": 0.25, "psnr": 7.7, "lpips_vgg_64": 0.45}
CANDIDATES = 500
SIDE = 16
VERDICTS = ("confirmed", "not confirmed", "inconclusive", "confirmed with a caveat")

RUN = {
    "commit": "0123456789ab",
    "versions": {"torch": "2.14.1", "vpaudit": "0.1.0"},
    "hardware": {"machine": "x86_64", "cores": 2, "python": "3.11.7"},
    "wall_time": {"reconstruct": 61.2, "evaluate": 3.4},
}


def write(folder: Path, mu=MU, images: int = 30, lpips: bool = True, ladder_ddim: bool = False, colour: bool = False):
    """Write everything that figures and report read; error falls with mu and follows each image's difficulty.

    Returns:
        The folder, results/<study>/.
    """
    rng = np.random.default_rng(0)
    for name in ("observations", "reconstructions"):
        (folder / name).mkdir(parents=True)
    names = [m for m in UNRELATED if lpips or m != "lpips_vgg_64"]
    attacks = ATTACKS + (LADDER_DDIM if ladder_ddim else ())
    config = {
        "study": "invented",
        "seed": 7,
        "data": {"name": "discs", "folder": None, "images": images},
        "mechanism": {"mu": list(mu), "max_grad_norm": 1.0, "delta": 1e-5},
        "evaluate": {"margin": 0.05},
        "bounds": {"candidates": CANDIDATES},
        "success": {"references": ["noise", "mean"], "draws": 2, "thresholds": 8},
        "attacks": [
            {"name": name, "draws": draws, "knowledge": UNTOLD if name == "ddim_untold" else {"lam": "known"}}
            for prior, name, draws, _ in ATTACKS
            if prior in ("none", "gaussian", "unconditional")
        ],
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    pictures, labels, ids = _pictures(rng, images, colour), np.arange(images) % 10, 3 * np.arange(images) + 1
    np.savez(
        folder / "targets.npz",
        images=np.round((pictures + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1).squeeze(),
        labels=labels,
        ids=ids,
        class_names=np.array([f"class {c}" for c in range(10)]),
    )
    public = _pictures(np.random.default_rng(1), 100, colour)
    np.savez(folder / "public.npz", images=np.round((public + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1))
    tables = {"metrics": [], "baselines": [], "consistency": [], "references": []}
    difficulty = rng.normal(0, 0.35, images)
    for m in names:
        value = UNRELATED[m] * np.exp(rng.normal(0, 0.15, images))
        tables["baselines"].append(_pairs(ids, "", "", np.nan, m, kind="test_vs_test", value=value))
    for value in mu:
        _one_mu(folder, rng, value, names, attacks, pictures, ids, difficulty, tables)
    for name, parts in tables.items():
        pd.concat(parts, ignore_index=True).to_parquet(folder / f"{name}.parquet", index=False)
    _bounds(mu).to_parquet(folder / "bounds.parquet", index=False)
    (folder / "summary.json").write_text(json.dumps(_summary(mu, images, lpips), indent=2))
    (folder / "run.json").write_text(json.dumps(RUN))
    return folder


def write_figures(folder: Path, names) -> None:
    """Any pictures under the names of the figures, for tests that are not about figures: drawing takes long."""
    folder.mkdir(exist_ok=True)
    for shade, name in enumerate(names):
        Image.new("L", (400, 300), 40 * shade).save(folder / f"{name}.png")
        (folder / f"{name}.csv").write_text("image\n1\n")


def _pictures(rng, images: int, colour: bool) -> np.ndarray:
    """Discs of different place, size and brightness, (N, C, H, W) in [-1, 1]."""
    y, x = np.mgrid[:SIDE, :SIDE] / (SIDE - 1)
    cx, cy = rng.uniform(0.3, 0.7, (2, images, 1, 1))
    disc = (np.hypot(x - cx, y - cy) < rng.uniform(0.15, 0.4, (images, 1, 1))).astype(float)
    shade = rng.uniform(0.4, 1, (images, 3 if colour else 1, 1, 1))
    return 2 * disc[:, None] * shade - 1


def _rows(ids, prior, attack, mu, metric, **columns) -> pd.DataFrame:
    base = {"dataset": "discs", "image": ids, "prior": prior, "attack": attack, "mu": mu, "metric": metric}
    return pd.DataFrame({**base, **columns})


def _pairs(ids, *about, value, **columns) -> pd.DataFrame:
    """Each image with the next three: pairs to which the first adds nothing, and the second its value."""
    others = [np.roll(np.arange(len(ids)), -k) for k in (1, 2, 3)]
    return pd.concat([_rows(ids, *about, other=ids[other], value=value[other], **columns) for other in others])


def _values(error: np.ndarray) -> dict:
    near = 1 / (1 + 4 * error)
    return {
        "mse": error,
        "ssim": near,
        "ncc": np.sqrt(near),
        "psnr": 10 * np.log10(4 / error),
        "lpips_vgg_64": 0.5 * (1 - near),
    }


def _references(rng, prior, attack, mu, scale, ids, difficulty, tables) -> None:
    """Error on releases without the target: that of mu = 0 on noise, less on the mean image, which is 0.7 mu away."""
    for kind, level, rho in (("noise", 0.6, np.ones(len(ids))), ("mean", 0.5, rng.uniform(0.6, 0.8, len(ids)))):
        for draw in range(2):
            made = _values(level * scale**0.5 * np.exp(difficulty + rng.normal(0, 0.1, len(ids))))
            about = {"reference": kind, "separation": rho, "draw": draw}
            tables["references"] += [
                _rows(ids, prior, attack, mu, m, value=made[m], **about) for m in ("mse", "ssim", "ncc")
            ]


def gains() -> pd.DataFrame:
    """An invented table of the experiment dpsgd: kalman gains 0.03, wiener loses 0.02, subspace changes nothing."""
    rng, rows = np.random.default_rng(0), []
    put = {("plain", "none"): 0.0, ("kalman", "none"): 0.03, ("wiener", "same"): -0.02, ("subspace", "shifted"): 0.0}
    for epsilon in (1.0, 8.0):
        for seed in range(5):
            base = 0.7 + 0.02 * np.log(epsilon) + rng.normal(0, 0.02)  # of the seed, shared by all methods
            for (method, public), gain in put.items():
                row = {"model": "logistic", "method": method, "public": public, "epsilon": epsilon, "seed": seed}
                rows.append({**row, "seconds": 1.0, "value": base + gain + rng.normal(0, 0.003) * (method != "plain")})
    return pd.DataFrame(rows).assign(metric="accuracy", dataset="discs", lr=1.0, setting=np.nan)


def _one_mu(folder, rng, mu, names, attacks, pictures, ids, difficulty, tables) -> None:
    images, arrays = len(ids), {}
    level = 0.6 / (1 + 0.25 * mu**1.3)
    for prior, attack, draws, scale in attacks:
        error = level * scale ** min(1.0, 0.5 + 0.2 * mu) * np.exp(difficulty)
        made = pictures[None] + np.sqrt(error)[:, None, None, None] * rng.normal(size=(draws, *pictures.shape))
        arrays[f"{prior}.{attack}"] = made.clip(-1, 1).astype(np.float32)
        for draw in range(draws):
            noisy = _values(error * np.exp(rng.normal(0, 0.1, images)))
            for m in names:
                tables["metrics"].append(
                    _rows(ids, prior, attack, mu, m, knowledge="known", rounds=1, draw=draw, value=noisy[m])
                )
        for m in names:
            other = UNRELATED[m] * np.exp(rng.normal(0, 0.1, images))
            tables["baselines"].append(_pairs(ids, prior, attack, mu, m, kind="reconstruction_vs_other", value=other))
        if draws == 1 and attack != "raw":
            _references(
                np.random.default_rng(len(tables["references"])), prior, attack, mu, scale, ids, difficulty, tables
            )
        if attack == "ddpm":
            estimate, truth = _values(error * np.exp(rng.normal(0, 0.3, images))), _values(error)
            for v in (estimate, truth):
                v["pixel_std"] = np.sqrt(v["mse"])
            for m in (*names, "pixel_std"):
                tables["consistency"].append(_rows(ids, prior, attack, mu, m, agreement=estimate[m], achieved=truth[m]))
    np.savez(folder / "reconstructions" / f"mu={mu:g}.npz", **arrays)
    size = np.sqrt((pictures**2).sum((1, 2, 3)))
    lam = np.minimum(1, 1 / size)
    y = lam[:, None, None, None] * pictures + rng.normal(0, 1 / mu, pictures.shape)
    np.savez(
        folder / "observations" / f"mu={mu:g}.npz", y=y.astype(np.float32), lam=lam, s=1 / (mu * lam), sigma=1 / mu,
        mu=mu, ids=ids,
    )  # fmt: skip


def _bounds(mu) -> pd.DataFrame:
    rows = []
    for value in mu:
        s2 = 0.5 * SIDE**2 / value**2
        laws = {"mse": s2, "psnr": 10 * np.log10(4 / s2), "ncc": 1 / np.sqrt(1 + 2 * s2)}
        rows += [("uninformed", value, np.nan, m, v, 0.9 * v, 1.1 * v) for m, v in laws.items()]
        gamma = norm.cdf(value + norm.ppf(1 / CANDIDATES))
        rows.append(("rero", value, 1 / CANDIDATES, "gamma", gamma, gamma, gamma))
        rows.append(("floor", value, np.nan, "mse", *3 * [0.3 / (1 + 0.5 * value**1.3)]))
        epsilon = dict(zip(MU, EPSILON)).get(value, 4 * value)
        rows.append(("epsilon", value, np.nan, "epsilon", epsilon, epsilon, epsilon))
    columns = ["bound", "mu", "kappa", "metric", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns).assign(dataset="discs")


def _summary(mu, images: int, lpips: bool) -> dict:
    def claim(number: int, name: str, text: str, verdict: str, value=0.5, **about: str) -> dict:
        course = [{"mu": m, "value": 0.5, "low": 0.4, "high": 0.6} for m in mu]
        low, high = (None, None) if value is None else (value - 0.1, value + 0.1)
        return {
            "id": name, "claim": text, "paper": f"the paper's finding {number}", "measured": f"measured thing {number}",
            "value": value, "low": low, "high": high, "n": images, "verdict": verdict, "note": "", "by_mu": course,
            "name": name, "family": name, "metric": "", "baseline": "", "attack": "", **about,
        }  # fmt: skip

    claims = [
        claim(1, "beats_uninformed", "The attack beats the uninformed bound at every µ", VERDICTS[0]),
        claim(2, "within_theorem", "Success stays within the theorem's bound", VERDICTS[1], -0.2),
        claim(3, "grows_with_mu_ssim", "Success grows with µ (SSIM) & more <always>", VERDICTS[2]),
        claim(4, "end_of_success_mse", "At every µ ≤ 5 less than 5 % is recovered (MSE)", VERDICTS[3], 0.4),
        claim(6, "end_of_success_ssim", "At every µ ≤ 5 less than 5 % is recovered (SSIM)", VERDICTS[3], 0.4),
        claim(5, "untestable", "Something that has no number", VERDICTS[2], None),
    ]
    notes = [] if lpips else ["LPIPS could not be computed: no VGG16 backbone was found; its column is absent."]
    return {
        "study": "invented",
        "headline": "5 checks of the paper's claims: 1 confirmed.",
        "claims": claims,
        "images": images,
        "mu": list(mu),
        "seed": 7,
        "attacks": [
            {"name": "ddim", "kind": "ddim", "conditioning": ["unconditional"], "steps": 16, "eta": 0.0, "draws": 1},
            {"name": "ddpm", "kind": "ddim", "conditioning": ["unconditional"], "steps": 32, "eta": 1.0, "draws": 3},
        ],
        "prior": {"data": "discs, train split", "parameters": 1234567, "images_seen": 5000, "passes": 1.5,
                  "steps": 5, "steps_planned": 5, "sha256": "ab" * 32},
        "notes": notes,
    }  # fmt: skip
