"""`vpaudit bound` and `vpaudit account`: closed forms on the command line, a table or one JSON object."""

import argparse
import json
from dataclasses import asdict

from vpaudit.base.errors import VpauditError
from vpaudit.commands import options

ADVANTAGE = """\
success: with the record at most this often, for an attack that comes to `baseline` without it, whatever it is told;
at_baseline is the difference. knowing_anything: the most the difference can be at any baseline; knowing_nothing: the
same for an attack that is told nothing of its target and comes to `baseline` at most. rero: gamma at kappa = baseline,
for an attack that is told nothing; one that is told something of its target may exceed it."""
ACCOUNT = """\
mu: the one whose curve passes through (epsilon, delta), a guarantee for the full batch alone. mu_profile: the least mu
whose curve lies above all of the run's delta(epsilon) down to delta = 1e-9, by fit_excess at most; bounds at this mu
hold for the run, to 1e-9."""


def add_bound(command: argparse.ArgumentParser) -> None:
    bound = command.add_subparsers(title="bounds", required=True, metavar="BOUND", parser_class=argparse.ArgumentParser)
    rero = bound.add_parser("rero", help="success of an adversary who holds the target among candidates")
    which = rero.add_mutually_exclusive_group(required=True)
    options.add(which, "--mu", "--noise-multiplier")
    which.add_argument("--gamma", type=float, help="success to stay below: gives the mu that allows it, kappa to 1")
    rero.add_argument("--kappa", type=float, required=True, help="chance of guessing without a release, e.g. 1/n")
    options.add(rero, "--steps", "--sample-rate")
    _finish(rero, _rero)
    advantage = bound.add_parser(
        "advantage", help="what a release adds to the success of any attack, whatever it is told of its target"
    )
    which = advantage.add_mutually_exclusive_group(required=True)
    options.add(which, "--mu", "--noise-multiplier")
    advantage.add_argument(
        "--baseline", type=float, required=True, metavar="P",
        help="success without the record, 1e-9 to 1: measured, 1/n among n candidates, an attribute's commonest share",
    )  # fmt: skip
    advantage.add_argument(
        "--replace", action="store_true", help="without the record, another one is in its place (default: none is)"
    )
    advantage.add_argument(
        "--same", type=float, default=0.0, metavar="P",
        help="chance that the other one is equal, e.g. 1/n; with --replace (default: 0)",
    )  # fmt: skip
    options.add(advantage, "--steps", "--sample-rate")
    _finish(advantage, _advantage, ADVANTAGE)
    uninformed = bound.add_parser("uninformed", help="what an adversary gets who knows nothing of images")
    options.add(uninformed, "--mu", required=True)
    uninformed.add_argument("--norm", type=float, required=True, help="norm of the image in its pixel range, > 0")
    uninformed.add_argument("--pixels", type=int, required=True, help="number of values in the image, >= 1")
    uninformed.add_argument("--data-range", type=float, default=2.0, help="width of the pixel range (default: 2)")
    uninformed.add_argument("--max-grad-norm", type=float, help="clipping norm C (default: the image is clipped)")
    _finish(uninformed, _uninformed)


def add_account(account: argparse.ArgumentParser) -> None:
    known = account.add_mutually_exclusive_group(required=True)
    options.add(known, "--epsilon", "--noise-multiplier", "--mu")
    options.add(account, "--delta", "--steps", "--sample-rate")
    _finish(account, _account, ACCOUNT)


def _finish(command: argparse.ArgumentParser, compute, meaning: str = "") -> None:
    """meaning: what the numbers are, where their names do not tell; printed below them."""
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.set_defaults(run=lambda arguments: _print(compute(arguments), meaning, arguments.json))


def _print(values: dict, meaning: str, as_json: bool) -> None:
    if as_json:
        values |= {"meaning": " ".join(meaning.split())} if meaning else {}
        print(json.dumps({name: None if value != value else value for name, value in values.items()}))  # no NaN in JSON
        return
    width = max(map(len, values))
    for name, value in values.items():
        print(f"{name:<{width}}  {value:.6g}" if isinstance(value, (int, float)) else f"{name:<{width}}  {value}")
    if meaning:
        print(f"\n{meaning}")


def _rero(arguments) -> dict:
    from vpaudit.privacy import rero

    if arguments.gamma is not None:
        _one_release(arguments, "--gamma")
        return {"mu": float(rero.mu_of_gamma(arguments.gamma, arguments.kappa))}
    if arguments.mu is not None:
        _one_release(arguments, "--mu")
        return {"gamma": float(rero.gamma_of_mu(arguments.mu, arguments.kappa))}
    return asdict(
        rero.gamma_poisson(arguments.noise_multiplier, arguments.sample_rate, arguments.steps, arguments.kappa)
    )


def _one_release(arguments, option: str) -> None:
    if (arguments.sample_rate, arguments.steps) != (1.0, 1):
        raise VpauditError(f"{option} is about all steps together", "give --noise-multiplier with --steps instead")


def _advantage(arguments) -> dict:
    from vpaudit.base import checks
    from vpaudit.privacy import rero
    from vpaudit.privacy.advantage import advantage

    noise = arguments.noise_multiplier
    if noise is None:
        _one_release(arguments, "--mu")
        noise = 1 / float(checks.positive(mu=arguments.mu))
    training = noise, arguments.sample_rate, arguments.steps
    found = advantage(*training, arguments.baseline, arguments.replace, arguments.same)
    return asdict(found) | {"rero": rero.gamma_poisson(*training, arguments.baseline).gamma}


def _uninformed(arguments) -> dict:
    from vpaudit.base import checks
    from vpaudit.privacy import accounting, uninformed

    checks.within(*accounting.MU_RANGE, mu=arguments.mu)
    clip = arguments.norm if arguments.max_grad_norm is None else arguments.max_grad_norm
    s = uninformed.effective_noise(arguments.norm, arguments.mu, clip)
    return {
        "mse": float(uninformed.mse_mean(s)),
        "psnr": float(uninformed.psnr_mean(s, arguments.pixels, arguments.data_range)),
        "ncc": float(uninformed.ncc_upper(arguments.mu, arguments.pixels)),
    }


def _account(arguments) -> dict:
    from vpaudit.privacy import accounting

    budget = accounting.account(**options.training(arguments))
    fit = accounting.gaussian_fit(budget.noise_multiplier, budget.sample_rate, budget.steps, accounting.PLD_DELTA_MIN)
    return asdict(budget) | {"mu_profile": fit.mu, "fit_excess": fit.excess}
