"""Attacks on the gradient of a LeNet as it is, one image at a time: our posterior samples, and three peers.

    python benchmarks/network_attack.py --noise 0 0.1 1

    posterior  mean of 2 samples (`vpaudit.opacus.posterior`); "posterior, one" is the first of them alone
    dlg        |f(x) - y|^2 by L-BFGS from noise (Zhu et al. 1906.08935), the class known; line search added
    cosine     1 - cos(f(x), y) + total variation by Adam on signs, steps of 0.1 that fall three times by ten (Geiping
               et al. 2003.14053)
    guided     ancestral sampling from the same prior, told the class too, each fresh noise turned towards the gradient
               of |f(D(x_t)) - y| (after 2411.03053), its length kept as in 2402.03201; mean of 2 samples, and one
    class      the sampler of `posterior` without the gradient: what the class alone, which all but `dlg` and `cosine`
               tell their prior, gives away

The gradient, or a product with its derivative, counts as one evaluation, and each attack has 340. `guided` also goes
back through the prior at each step, which the time shows. A finished part, an attack at a noise multiplier, is not made
again.
"""

import argparse
import itertools
import time
from pathlib import Path

import pandas as pd
import torch
from networks import build
from torch import nn

import vpaudit
from vpaudit.base import files
from vpaudit.base.randomness import KeyedNoise
from vpaudit.opacus.clipped import ClippedGradient, Derivative
from vpaudit.opacus.posterior import Adversary, Effort, posterior_samples
from vpaudit.sampling.samplers import noise_levels

EFFORT, DRAWS = Effort(levels=18, start=10.0, newton=1, products=3), 2  # the largest std of these images is 9
ATTACKS = ("posterior", "dlg", "cosine", "guided", "class")
UNSEEN = 1e6  # a noise multiplier at which the gradient says nothing
BUDGET = 340  # evaluations, as many as `posterior` needs
TOTAL_VARIATION, GUIDANCE = 1e-2, 0.2


class Counted(ClippedGradient):
    """Counts evaluations of the gradient and of products with its derivative."""

    used = 0

    def raw(self, x):
        self.used += 1
        return super().raw(x)

    def at(self, x):
        return CountedDerivative(self, x)


class CountedDerivative(Derivative):
    def push(self, v):
        self.gradient.used += len(v)
        return super().push(v)

    def pull(self, u):
        self.gradient.used += len(u)
        return super().pull(u)


def dlg(gradient: Counted, y: torch.Tensor, start: torch.Tensor, budget: int) -> torch.Tensor:
    x = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [x], max_iter=budget, max_eval=budget // 2, history_size=100, line_search_fn="strong_wolfe",
        tolerance_grad=0, tolerance_change=0,
    )  # fmt: skip

    def closure():
        at = gradient.at(x.detach())
        x.grad = 2 * at.pull((at.value - y)[None])[0]
        return (at.value - y).square().sum()

    optimizer.step(closure)
    return x.detach()


def cosine(gradient: Counted, y: torch.Tensor, start: torch.Tensor, budget: int) -> torch.Tensor:
    x, steps = start.clone().requires_grad_(), budget // 2
    optimizer = torch.optim.Adam([x], lr=0.1)
    marks = [int(steps * share) for share in (3 / 8, 5 / 8, 7 / 8)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, marks)
    for _ in range(steps):
        at = gradient.at(x.detach())
        size, angle = at.value.norm(), nn.functional.cosine_similarity(at.value, y, dim=0)
        away = angle * at.value / size**2 - y / (size * y.norm())
        variation = x.diff(dim=-1).abs().mean() + x.diff(dim=-2).abs().mean()
        slope = torch.autograd.grad(TOTAL_VARIATION * variation, x)[0] + at.pull(away[None])[0]
        x.grad = slope.sign()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            x.clamp_(-1, 1)
    return x.detach()


def guided(gradient: Counted, y: torch.Tensor, prior, noise: KeyedNoise, budget: int) -> torch.Tensor:
    levels = noise_levels(torch.tensor([EFFORT.start]), budget // 2)[0]
    x = levels[0] * noise()[0]
    for now, then in itertools.pairwise(levels):
        asked = x.clone().requires_grad_()
        clean = prior.denoise_rows(asked[None], now[None], gradient.label)[0]
        at = gradient.at(clean.detach())
        residual = at.value - y
        slope = torch.autograd.grad(clean, asked, at.pull(residual[None])[0] / residual.norm())[0]
        clean, fresh = clean.detach(), noise()[0]
        towards = -slope / slope.norm().clamp_min(1e-30) * fresh.norm()
        mixed = (1 - GUIDANCE) * fresh + GUIDANCE * towards
        spread = then * (1 - (then / now) ** 2).sqrt()
        x = clean + (then / now) ** 2 * (x - clean) + spread * mixed / mixed.norm() * fresh.norm()
    return x


def attack(name: str, noise_multiplier: float, count: int) -> pd.DataFrame:
    """One part: an attack on `count` images at one noise multiplier."""
    images, labels = vpaudit.load_images("fashion_mnist", count)
    prior = vpaudit.load_prior("fashion_mnist_dit", rows=1, precision="float32")
    adversary = Adversary(prior, vpaudit.load_prior("fashion_mnist_gaussian"))
    rows, found = [], []
    for number, (x, label) in enumerate(zip(images, labels.tolist())):
        key = (0, "fashion_mnist", number, f"noise={noise_multiplier:g}")
        gradient = Counted(build("LeNet", x.shape), label, 1.0)
        value = gradient(x)
        y = value + noise_multiplier * KeyedNoise([(*key, "release")], value.shape)()[0]
        start, fresh = KeyedNoise([(*key, "start")], x.shape)()[0], KeyedNoise([(*key, "guided")], x.shape)
        began, gradient.used = time.process_time(), 0
        if name == "posterior":
            draws = posterior_samples(gradient, y, noise_multiplier, adversary, key, DRAWS, EFFORT)
        elif name == "class":
            draws = posterior_samples(gradient, y, UNSEEN, adversary, key[:3], DRAWS, EFFORT)
        elif name == "guided":
            draws = torch.stack([guided(gradient, y, prior, fresh, BUDGET // DRAWS) for _ in range(DRAWS)])
        else:
            draws = {"dlg": dlg, "cosine": cosine}[name](gradient, y, start, BUDGET)[None]
        rows.append((name, number, "evaluations", gradient.used))
        rows.append((name, number, "seconds", time.process_time() - began))
        found.append(draws.clamp(-1, 1))
    results = {name: torch.stack([draws.mean(dim=0) for draws in found])}
    if len(found[0]) > 1:
        results[f"{name}, one"] = torch.stack([draws[0] for draws in found])
    for label, result in results.items():
        for metric, values in vpaudit.compare(result, images, ["mse", "lpips_vgg_64"]).items():
            rows += [(label, number, metric, float(value)) for number, value in enumerate(values)]
    table = pd.DataFrame(rows, columns=["attack", "image", "metric", "value"])
    table.insert(0, "noise_multiplier", noise_multiplier)
    return table


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--noise", type=float, nargs="+", default=[0.0, 0.01, 0.1, 0.5, 1.0])
    options.add_argument("--images", type=int, default=8)
    options.add_argument("--attacks", nargs="+", default=ATTACKS, choices=ATTACKS)
    options.add_argument("--parts", type=Path, default=Path("work/network_attack"))
    options.add_argument("--out", type=Path, default=Path("results/opacus/network_attack.parquet"))
    chosen = options.parse_args()
    torch.set_num_threads(1)
    for noise_multiplier in chosen.noise:
        for name in chosen.attacks:
            part = chosen.parts / f"{name}-noise={noise_multiplier:g}.parquet"
            known = chosen.parts / f"class-noise={chosen.noise[0]:g}.parquet"
            if name == "class" and known.exists():  # it sees no gradient
                files.write_table(part, pd.read_parquet(known).assign(noise_multiplier=noise_multiplier))
            elif not part.exists():
                files.write_table(part, attack(name, noise_multiplier, chosen.images))
    tables = [pd.read_parquet(part) for part in sorted(chosen.parts.glob("*.parquet"))]
    files.write_table(chosen.out, pd.concat(tables))


if __name__ == "__main__":
    main()
