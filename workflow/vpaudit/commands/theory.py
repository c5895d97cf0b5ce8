"""`vpaudit bound` and `vpaudit account`: closed forms on the command line, a table or one JSON object."""

import argparse
import json
from dataclasses import asdict

from vpaudit.base.errors import VpauditError


def add_bound(command: argparse.ArgumentParser) -> None:
    bound = command.add_subparsers(title="bounds", required=True, metavar="BOUND", parser_class=argparse.ArgumentParser)
    rero = bound.add_parser("rero", help="success of an adversary who holds the target among candidates")
    which = rero.add_mutually_exclusive_group(required=True)
    which.add_argument("--mu", type=float, help="signal-to-noise ratio C/sigma of all releases together, > 0")
    which.add_argument("--noise-multiplier", type=float, help="sigma/C of one step, 0.01 to 10,000")
    which.add_argument("--gamma", type=float, help="success to stay below: gives the mu that allows it, kappa to 1")
    rero.add_argument("--kappa", type=float, required=True, help="chance of guessing without a release, e.g. 1/n")
    _training(rero)
    _finish(rero, _rero)
    uninformed = bound.add_parser("uninformed", help="what an adversary gets who knows nothing of images")
    uninformed.add_argument("--mu", type=float, required=True, help="signal-to-noise ratio C/sigma, > 0")
    uninformed.add_argument("--norm", type=float, required=True, help="norm of the image in its pixel range, > 0")
    uninformed.add_argument("--pixels", type=int, required=True, help="number of values in the image, >= 1")
    uninformed.add_argument("--data-range", type=float, default=2.0, help="width of the pixel range (default: 2)")
    uninformed.add_argument("--max-grad-norm", type=float, help="clipping norm C (default: the image is clipped)")
    _finish(uninformed, _uninformed)


def add_account(account: argparse.ArgumentParser) -> None:
    known = account.add_mutually_exclusive_group(required=True)
    known.add_argument("--noise-multiplier", type=float, help="sigma/C of one step, 0.01 to 10,000")
    known.add_argument("--epsilon", type=float, help="privacy budget of all steps, > 0")
    known.add_argument("--mu", type=float, help="GDP parameter of all steps together, > 0")
    account.add_argument("--delta", type=float, default=1e-5, help="in (0, 1) (default: %(default)g)")
    _training(account)
    _finish(account, _account)


def _training(command: argparse.ArgumentParser) -> None:
    command.add_argument("--sample-rate", type=float, default=1.0, help="Poisson sampling rate, (0, 1] (default: 1)")
    command.add_argument("--steps", type=int, default=1, help="number of steps, 1 to 1,000,000 (default: 1)")


def _finish(command: argparse.ArgumentParser, compute) -> None:
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.set_defaults(run=lambda arguments: _print(compute(arguments), arguments.json))


def _print(values: dict, as_json: bool) -> None:
    if as_json:
        print(json.dumps({name: None if value != value else value for name, value in values.items()}))  # no NaN in JSON
        return
    width = max(map(len, values))
    for name, value in values.items():
        print(f"{name:<{width}}  {value:.6g}" if isinstance(value, (int, float)) else f"{name:<{width}}  {value}")


def _rero(arguments) -> dict:
    from vpaudit.privacy import rero

    if arguments.noise_multiplier is None:
        if (arguments.sample_rate, arguments.steps) != (1.0, 1):
            raise VpauditError("--mu is that of all steps together", "give --noise-multiplier with --steps instead")
        if arguments.gamma is not None:
            return {"mu": float(rero.mu_of_gamma(arguments.gamma, arguments.kappa))}
        return {"gamma": float(rero.gamma_of_mu(arguments.mu, arguments.kappa))}
    found = rero.gamma_poisson(arguments.noise_multiplier, arguments.sample_rate, arguments.steps, arguments.kappa)
    return asdict(found)


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

    return asdict(
        accounting.account(
            delta=arguments.delta,
            noise_multiplier=arguments.noise_multiplier,
            epsilon=arguments.epsilon,
            mu=arguments.mu,
            sample_rate=arguments.sample_rate,
            steps=arguments.steps,
        )
    )
