"""Four adversaries of one training by DP-SGD, told apart by what they see of its rounds, and each one's mu.

T rounds y_t = b_t theta + sigma z_t, theta = lambda x of norm C, sigma = C / mu, b_t = 1 with probability q. As one
Gaussian release of theta, which every attack here takes, they are worth

    one_round               mu                  a round of which it knows that it holds the image
    final_model             q sqrt(T) mu        the sum of all rounds: signal b_1 + ... + b_T, on average q T, noise
                                                sigma sqrt(T)
    participation_known     sqrt(q T) mu        the mean of the rounds that hold the image, on average q T of them
    participation_unknown   sqrt(T E[p^2]) mu   all rounds, p the chance that a round holds the image, as far as who
                                                knows theta can tell

The last is the Fisher information about theta across its own direction. With w = p(y_t) the score of a round is
w (y_t - theta) / sigma^2, in a direction orthogonal to theta w z / sigma with z independent of w, and so its variance
E[w^2] / sigma^2, where one release has 1 / sigma^2. An adversary whose guess is already near has as much as with one
release of that mu (local asymptotic normality); one that starts from the prior tells rounds apart by a worse template
and has less, from q sqrt(T) mu on: `attack/participation.py` measures it. As E[p] = q, q^2 <= E[p^2] <= q: never below
the final model, never above known participation.

The final model alone is the sum for plain SGD at a constant learning rate. With rates eta_t its mu is
q mu sum(eta_t) / sqrt(sum(eta_t^2)), which is less (Cauchy-Schwarz). Momentum weighs round t by 1 - beta^(T - t + 1),
almost a constant. Adam divides by what it has seen of the gradients' size, so its model is no linear function of the
rounds, and this mu is not derived for it; all rounds together always are an upper bound.
"""

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from vpaudit.base import checks
from vpaudit.base.adversaries import ADVERSARIES
from vpaudit.base.errors import VpauditError
from vpaudit.privacy.accounting import gaussian_fit
from vpaudit.privacy.rero import gamma_of_mu, gamma_poisson

NODES = np.linspace(-12, 12, 9601)  # of a standard normal


def mu(name: str, noise_multiplier: float, sample_rate: float, steps: int) -> float:
    """What an adversary of `ADVERSARIES` has of the image after T rounds of sigma / C, as the mu of one release; > 0.

    Args:
        noise_multiplier: of a round, > 0; sample_rate: q in (0, 1]; steps: T >= 1.

    Raises:
        VpauditError: no such adversary.
    """
    if name not in ADVERSARIES:
        raise VpauditError(f"no adversary {name!r}", f"known: {', '.join(ADVERSARIES)}")
    rounds = {
        "one_round": 1.0,
        "final_model": steps * sample_rate**2,
        "participation_known": max(1.0, steps * sample_rate),
        "participation_unknown": steps * squared_participation(1 / noise_multiplier, sample_rate),
    }
    return float(np.sqrt(rounds[name]) / noise_multiplier)


def squared_participation(mu: float, sample_rate: float) -> float:
    """E[p^2] of one round, p = P(b = 1 | <y, theta>): in [q^2, q]; mu >= 0 of a round.

    log odds of a round: logit q + mu u - mu^2 / 2, where u = <y, theta> / (sigma |theta|) is N(0, 1) without the image
    and N(mu, 1) with it. E[p^2] = q E[p | b = 1], since E[p (p - b)] = 0.
    """
    mu, rate = float(checks.non_negative(mu=mu)), float(checks.share(sample_rate=sample_rate))
    if rate == 1:
        return 1.0
    weight = np.exp(-(NODES**2) / 2) / np.exp(-(NODES**2) / 2).sum()
    odds = np.log(rate) - np.log1p(-rate) + mu * NODES + mu**2 / 2
    return float(rate * (expit(odds) @ weight))


def noise_multiplier(name: str, wanted: float, sample_rate: float, steps: int) -> float:
    """The noise multiplier of a round at which an adversary of `ADVERSARIES` has mu = `wanted` > 0."""
    wanted = float(checks.positive(mu=wanted))
    least, most = np.log(sample_rate / wanted) - 1, np.log(np.sqrt(steps) / wanted) + 1

    def excess(log_noise: float) -> float:
        return np.log(mu(name, float(np.exp(log_noise)), sample_rate, steps) / wanted)

    return float(np.exp(brentq(excess, least, most, xtol=1e-10)))


def named(name: str, noise_multiplier: float, sample_rate: float, steps: int, candidates: int) -> float:
    """At most this is the chance that an adversary who holds n equally likely candidates names the image (ReRo).

    Of all rounds, and of what follows from them, the bound is that of the subsampled composition, participation being
    as random as the noise; of one round, and of known participation on average, that of the mu they have.
    """
    if name in ("final_model", "participation_unknown"):
        return gamma_poisson(noise_multiplier, sample_rate, steps, 1 / candidates).gamma
    return float(gamma_of_mu(mu(name, noise_multiplier, sample_rate, steps), 1 / candidates))


def visual_mu_limit(name: str, noise_multiplier: float, sample_rate: float, steps: int, delta: float) -> float:
    """The most that the visual mu (privacy/success.py) of any attack by this adversary can be, success less delta.

    Of all rounds, and of what follows from them, it is the mu above the whole trade-off curve of the subsampled run.
    """
    if name in ("final_model", "participation_unknown"):
        return gaussian_fit(noise_multiplier, sample_rate, steps, delta).mu
    return mu(name, noise_multiplier, sample_rate, steps)
