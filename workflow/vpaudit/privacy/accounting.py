"""Privacy accounting: (noise multiplier, sample rate, steps, delta) <-> epsilon <-> mu.

mu-GDP (Dong, Roth, Su 1905.02383, Cor. 2.13):  delta(eps) = Phi(mu/2 - eps/mu) - e^eps Phi(-mu/2 - eps/mu).
A Gaussian release with noise multiplier nm is 1/nm-GDP; T full-batch releases compose to sqrt(T)/nm. A diffusion prior
is of use from mu ~ 5 on, which is eps ~ 33 at delta = 1e-5, so all of it is computed in the log domain.
Poisson sampling has no closed form: dp-accounting builds and composes its privacy loss distribution (PLD), pessimistic,
under add-or-remove-one adjacency; `PrivacyCurve` reads delta, epsilon and the trade-off curve out of it. The mu through
one point (epsilon, delta) is then no guarantee; `gaussian_fit` gives the mu whose curve lies above all of it.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import erfcx, ndtr, ndtri

from vpaudit.base import checks
from vpaudit.base.errors import VpauditError

# Ranges verified against 60-digit arithmetic (tests/unit/test_accounting.py).
EPSILON_RANGE = (1e-3, 1e5)
MU_RANGE = (1e-5, 1e3)
DELTA_RANGE = (1e-100, 1 - 1e-6)
# Of the PLD: below this, the round-off of its Fourier transforms would show in delta.
PLD_DELTA_MIN = 1e-9
PLD_STEP_POINTS, PLD_POINTS = 100_000, 2_000_000
STEPS_MAX = 1_000_000
NOISE_RANGE, RATE_MIN = (1e-2, 1e4), 1e-9  # of the noise multiplier and the sample rate where a PLD is built
# How far below the epsilon asked for a calibrated noise multiplier may stay; the second where round-off, some 1e-12 of
# delta, makes epsilon rise here and there as noise grows.
TIGHT, LOOSE = 1e-4, 2e-3


@dataclass(frozen=True)
class Budget:
    """A privacy budget, said in every way.

    Attributes:
        epsilon, delta: the mechanism is (epsilon, delta)-DP, add-or-remove-one.
        mu: the GDP mu whose delta(epsilon) passes through that point. Exact for sample_rate = 1; for Poisson sampling
            it matches at this delta only and is not a GDP guarantee (`gaussian_fit` gives one); NaN where epsilon is
            below EPSILON_RANGE.
        noise_multiplier: sigma / C of each step; sample_rate: q of Poisson sampling, 1 for the full batch; steps: T.
    """

    epsilon: float
    delta: float
    mu: float
    noise_multiplier: float
    sample_rate: float
    steps: int


# ---------------------------------------------------------------- Gaussian differential privacy


def delta_of_epsilon(mu, epsilon):
    """delta(epsilon) of a mu-GDP mechanism; scalars or arrays.

    Args:
        mu: in MU_RANGE; epsilon: in [0, 1e5].

    Returns:
        delta in [0, 1]; 0 only where it is below the smallest float.
    """
    mu = checks.within(*MU_RANGE, mu=mu)
    epsilon = checks.within(0, EPSILON_RANGE[1], epsilon=epsilon)
    return np.exp(_log_delta(mu, epsilon))


def epsilon_of_mu(mu, delta):
    """The smallest epsilon >= 0 at which a mu-GDP mechanism is (epsilon, delta)-DP; scalars or arrays.

    Raises:
        VpauditError: mu outside MU_RANGE, delta outside DELTA_RANGE, or epsilon above EPSILON_RANGE.
    """
    mu, delta = checks.within(*MU_RANGE, mu=mu), checks.within(*DELTA_RANGE, delta=delta)
    return _epsilon_of_mu(mu, delta)[()]


def mu_of_epsilon(epsilon, delta):
    """The mu whose delta(epsilon) curve passes through (epsilon, delta); scalars or arrays.

    Raises:
        VpauditError: epsilon outside EPSILON_RANGE, delta outside DELTA_RANGE, or mu outside MU_RANGE.
    """
    epsilon = checks.within(*EPSILON_RANGE, epsilon=epsilon)
    delta = checks.within(*DELTA_RANGE, delta=delta)
    return _mu_of_epsilon(epsilon, delta)[()]


def _log_delta(mu, epsilon):
    """log delta. With a = mu/2 - eps/mu and b = a - mu, e^eps phi(b) = phi(a), and so
    delta = Phi(a) - e^(-a^2/2) erfcx(-b/sqrt2)/2: nothing overflows; for a < 0 both terms take the factor out."""
    a = mu / 2 - epsilon / mu
    left = np.sqrt(0.5) * np.maximum(-a, 0)
    right = np.sqrt(0.5) * (mu / 2 + epsilon / mu)
    with np.errstate(divide="ignore"):
        tail = np.log(np.maximum(erfcx(left) - erfcx(right), 0) / 2) - a**2 / 2
        body = np.log(np.maximum(ndtr(a) - np.exp(-(a**2) / 2) * erfcx(right) / 2, 0))
    return np.where(a < 0, tail, body)


@np.vectorize(otypes=[np.float64])
def _epsilon_of_mu(mu, delta):
    target = np.log(delta)
    if _log_delta(mu, 0.0) <= target:
        return 0.0
    # delta(eps) <= Phi(a) <= e^(-a^2/2) at a = -sqrt(2 log(1/delta)), so this end lies below the target
    top = mu**2 / 2 + mu * np.sqrt(-2 * target)
    epsilon = brentq(lambda e: _log_delta(mu, e) - target, 0.0, top, xtol=1e-14 * top, rtol=1e-14)
    return float(_in_range("epsilon", epsilon, (0, EPSILON_RANGE[1]), f"mu={mu:g}, delta={delta:g}"))


@np.vectorize(otypes=[np.float64])
def _mu_of_epsilon(epsilon, delta):
    target, z = np.log(delta), ndtri(delta)
    # delta <= Phi(a) needs a >= z, hence mu >= z + sqrt(z^2 + 2 eps), written without cancellation
    root = np.sqrt(z**2 + 2 * epsilon)
    low = z + root if z > 0 else 2 * epsilon / (root - z)
    high = low
    while _log_delta(high, epsilon) < target:
        high *= 2
    if high == low:
        mu = low
    else:
        mu = brentq(lambda m: _log_delta(m, epsilon) - target, low, high, xtol=1e-14 * low, rtol=1e-14)
    return float(_in_range("mu", mu, MU_RANGE, f"epsilon={epsilon:g}, delta={delta:g}"))


def _in_range(name, value, bounds, given):
    if not bounds[0] <= value <= bounds[1]:
        raise VpauditError(
            f"{given} gives {name}={value:g}, outside [{bounds[0]:g}, {bounds[1]:g}]",
            "the result would not be verified; choose a budget nearer to those in use",
        )
    return value


# ---------------------------------------------------------------- Poisson sampling


@dataclass(frozen=True)
class PrivacyCurve:
    """delta(epsilon) = sup_E P(E) - e^epsilon Q(E) of a discrete PLD, for epsilon of either sign.

    Between grid points delta(epsilon) = upper_i - lower_i e^(epsilon - epsilon_i), epsilon in [epsilon_i, epsilon_i+1].

    Attributes:
        epsilons: (K,), rising, evenly spaced: the privacy losses of the PLD.
        upper: (K,), P(loss > epsilon_i).
        lower: (K,), e^(epsilon_i) Q(loss > epsilon_i).
    """

    epsilons: np.ndarray
    upper: np.ndarray
    lower: np.ndarray

    @classmethod
    def of(cls, pmf) -> "PrivacyCurve":
        """From a dp-accounting `PLDPmf`, by a recursion from the largest loss down, in which nothing can overflow."""
        from scipy.signal import lfilter

        pmf = pmf.to_dense_pmf()
        probs, interval = pmf._probs, pmf._discretization
        above = np.append(probs[1:], 0.0)[::-1]
        decay = np.exp(-interval)
        lower = lfilter([decay], [1.0, -decay], above)[::-1]
        epsilons = interval * (pmf._lower_loss + np.arange(len(probs)))
        return cls(epsilons, pmf._infinity_mass + np.cumsum(above)[::-1], lower)

    def epsilon(self, delta: float) -> float:
        """The smallest epsilon >= 0 with delta(epsilon) <= delta; inf if there is none."""
        met = np.flatnonzero(self.upper - self.lower <= delta)
        if not len(met):
            return np.inf
        if met[0] == 0:  # left of the grid delta(epsilon) = 1 - e^epsilon (1 - delta_0): all mass is above
            return max(0.0, float(self.epsilons[0]))
        i = met[0] - 1
        return max(0.0, float(self.epsilons[i] + np.log((self.upper[i] - delta) / self.lower[i])))

    def true_positive_rate(self, kappa: float) -> float:
        """sup{P(E): Q(E) <= kappa} = min over epsilon of delta(epsilon) + kappa e^epsilon; the minimum is at a kink."""
        useful = self.epsilons <= -np.log(kappa)
        values = (self.upper - self.lower)[useful] + kappa * np.exp(self.epsilons[useful])
        return float(min(1.0, values.min(initial=1.0)))


def loss_moments(noise_multiplier: float, sample_rate: float) -> tuple[float, float, float]:
    """Std under Q, mean and std under P of one step's privacy loss, in nats.

    Q = N(0, nm^2), P = (1-q) N(0, nm^2) + q N(1, nm^2), loss = log(1 - q + q exp((x - 1/2) / nm^2)).
    """
    u = np.linspace(-10, 10, 4001)
    weight = np.exp(-(u**2) / 2) / np.exp(-(u**2) / 2).sum()
    rest = np.log1p(-sample_rate) if sample_rate < 1 else -np.inf

    def loss(x):
        return np.logaddexp(rest, np.log(sample_rate) + (x - 0.5 / noise_multiplier) / noise_multiplier)

    noise, signal = loss(u), loss(u + 1 / noise_multiplier)
    mean_q = weight @ noise
    mean_p = (1 - sample_rate) * mean_q + sample_rate * (weight @ signal)
    var_p = (1 - sample_rate) * (weight @ (noise - mean_p) ** 2) + sample_rate * (weight @ (signal - mean_p) ** 2)
    return float(np.sqrt(weight @ (noise - mean_q) ** 2)), float(mean_p), float(np.sqrt(var_p))


def pld_interval(noise_multiplier: float, sample_rate: float, steps: int) -> float:
    """Grid spacing of the PLD: 1/200 of one step's loss std under Q, wider where that would cost too many points.

    Connecting the dots spreads each step's loss by at most interval^2 / 4 in variance and not in mean, so the error
    is of order interval^2.
    """
    std_q, _, std_p = loss_moments(noise_multiplier, sample_rate)
    reach = (10.5 + 0.5 / noise_multiplier) / noise_multiplier
    span = np.logaddexp(0, np.log(sample_rate) + reach) + min(reach, -np.log1p(-min(sample_rate, 1 - 1e-16)))
    composed = span + 16 * np.sqrt(steps) * std_p
    return float(max(std_q / 200, span / PLD_STEP_POINTS, composed / PLD_POINTS))


def poisson_curves(noise_multiplier: float, sample_rate: float, steps: int, interval: float):
    """The `PrivacyCurve` of T Poisson-sampled Gaussian steps for removing and for adding a record, as dp-accounting
    composes them: pessimistic, so delta(epsilon) is never too low (but for round-off near 1e-12)."""
    from dp_accounting.pld import privacy_loss_distribution

    pld = privacy_loss_distribution.from_gaussian_mechanism(
        noise_multiplier, value_discretization_interval=interval, sampling_prob=sample_rate
    )
    return tuple(PrivacyCurve.of(_compose(pmf, steps)) for pmf in (pld._pmf_remove, pld._pmf_add))


def _compose(pmf, steps: int):
    """T-fold composition. A step's mass is off from 1 by some 1e-10 of round-off, which T would multiply: fixed first,
    and asserted after."""
    pmf = pmf.to_dense_pmf()
    pmf._probs = pmf._probs * ((1 - pmf._infinity_mass) / pmf._probs.sum())
    if steps > 1:
        pmf = pmf.self_compose(steps)
    mass = pmf._probs.sum() + pmf._infinity_mass
    if not abs(mass - 1) < 1e-6:
        raise VpauditError(
            f"the privacy loss distribution of {steps} steps has total mass {mass:g} instead of 1",
            "round-off has taken over; choose fewer steps or a noise_multiplier nearer to those in use",
        )
    return pmf


def check_training(noise_multiplier, sample_rate, steps) -> tuple[float, float, int]:
    """The three numbers of a DP-SGD run, checked: noise_multiplier > 0, and in NOISE_RANGE where sample_rate, in
    [RATE_MIN, 1], is below 1; steps."""
    sample_rate = checks.within(RATE_MIN, 1.0, sample_rate=checks.share(sample_rate=sample_rate))
    if sample_rate < 1:
        checks.within(*NOISE_RANGE, noise_multiplier=noise_multiplier)
    noise_multiplier = checks.positive(noise_multiplier=noise_multiplier)
    steps = checks.within(1, STEPS_MAX, steps=checks.whole(steps=steps))
    return float(noise_multiplier), float(sample_rate), int(steps)


def epsilon_poisson(noise_multiplier: float, sample_rate: float, steps: int, delta: float) -> float:
    """epsilon of T Poisson-sampled Gaussian steps; exact and in closed form for sample_rate = 1.

    The PLD is pessimistic, so the result is from above. The excess, by halving the grid: under 1e-4 of epsilon for
    q >= 1e-3 and T <= 1e4, 0.2 % at q = 1e-4; with the round-off at T = 1e6 or delta = 1e-9, under 1 %.

    Args:
        noise_multiplier: sigma / C, see `check_training`; sample_rate: q in [1e-9, 1]; steps: T from 1 to STEPS_MAX;
        delta: in DELTA_RANGE, and at least PLD_DELTA_MIN where sample_rate < 1.

    Returns:
        epsilon >= 0; 0 if the run is already (0, delta)-DP.

    Raises:
        VpauditError: an argument, or the epsilon found, out of range.
    """
    noise_multiplier, sample_rate, steps = check_training(noise_multiplier, sample_rate, steps)
    if sample_rate == 1:
        try:
            return float(epsilon_of_mu(np.sqrt(steps) / noise_multiplier, delta))
        except VpauditError as error:  # of mu, which nobody gave
            given = f"noise_multiplier={noise_multiplier:g}, steps={steps}"
            raise VpauditError(f"{given}: {error.message}", error.hint) from error
    delta = float(checks.within(PLD_DELTA_MIN, DELTA_RANGE[1], delta=delta))
    interval = pld_interval(noise_multiplier, sample_rate, steps)
    epsilon = _epsilon_pld(noise_multiplier, sample_rate, steps, delta, interval)
    given = f"noise_multiplier={noise_multiplier:g}, sample_rate={sample_rate:g}, steps={steps}, delta={delta:g}"
    return _in_range("epsilon", epsilon, (0, EPSILON_RANGE[1]), given)


def _epsilon_pld(noise_multiplier, sample_rate, steps, delta, interval):
    return max(c.epsilon(delta) for c in poisson_curves(noise_multiplier, sample_rate, steps, interval))


def noise_multiplier_for_epsilon(epsilon: float, delta: float, sample_rate: float = 1.0, steps: int = 1) -> float:
    """The smallest noise multiplier that keeps T steps within (epsilon, delta).

    Exact for sample_rate = 1, of any size. For Poisson sampling epsilon_poisson is at most epsilon and above
    (1 - 1e-4) epsilon, or (1 - 2e-3) epsilon where round-off shows: delta near 1e-9, or 1e5 steps and more.

    Raises:
        VpauditError: an argument out of range; for sample_rate < 1 also if a noise multiplier outside [0.01, 1e4] would
            be needed.
    """
    _, sample_rate, steps = check_training(1.0, sample_rate, steps)
    mu = mu_of_epsilon(epsilon, delta)
    if sample_rate == 1:
        return float(np.sqrt(steps) / mu)

    delta = float(checks.within(PLD_DELTA_MIN, DELTA_RANGE[1], delta=delta))
    asked = f"epsilon={epsilon:g}, delta={delta:g}, sample_rate={sample_rate:g}, steps={steps}"

    def excess(log_noise, coarseness=1):
        noise = np.exp(log_noise)
        interval = coarseness * pld_interval(noise, sample_rate, steps)
        return np.log(max(_epsilon_pld(noise, sample_rate, steps, delta, interval), 1e-12) / epsilon)

    # The central limit mu = q sqrt(T (e^(1/nm^2) - 1)) says where to look; a grid four times coarser, and four times
    # cheaper, where next and how steeply epsilon falls; the fine grid has the last word.
    guess = -0.5 * np.log(np.log1p(mu**2 / (sample_rate**2 * steps)))
    root = brentq(excess, *_bracket(lambda n: excess(n, 4), guess, 0.2, asked), args=(4,), xtol=1e-5)
    slope = (excess(root + 0.01, 4) - excess(root - 0.01, 4)) / 0.02
    met = {}  # epsilon's log excess, at most 0, of the noise multipliers tried
    for _ in range(6):
        value = excess(root)
        if value <= 0:
            met[value] = root
        if -TIGHT < value <= 0:
            break
        root -= (value + TIGHT / 3) / slope
    if met and max(met) > -LOOSE:
        return float(np.exp(met[max(met)]))
    raise VpauditError(f"no noise multiplier found for {asked}", "choose a budget nearer to those in use")


def _bracket(falling, guess, step, asked):
    """An interval around the root of a function that falls with the log of the noise multiplier, from a guess."""
    least, most = np.log(NOISE_RANGE)
    low = high = float(np.clip(guess, least, most))
    while falling(low) <= 0:
        if low == least:
            raise VpauditError(
                f"{asked} needs a noise multiplier below {NOISE_RANGE[0]:g}", "choose a smaller epsilon, or fewer steps"
            )
        low, high, step = max(low - step, least), low, 2 * step
    while falling(high) > 0:
        if high == most:
            raise VpauditError(
                f"{asked} needs a noise multiplier above {NOISE_RANGE[1]:g}",
                "choose a larger epsilon, fewer steps or a smaller sample_rate",
            )
        low, high, step = high, min(high + step, most), 2 * step
    return low, high


@dataclass(frozen=True)
class GaussianFit:
    """The mu-GDP curve above the whole privacy profile of a run, as far down as a delta.

    Attributes:
        mu: the least with delta_mu(epsilon) >= delta(epsilon) at every epsilon >= 0 where delta(epsilon) >= delta.
            0 where the run is (0, delta)-DP.
        excess: the fit's error, the largest delta_mu(epsilon) - delta(epsilon) there: what the Gaussian curve adds.
        delta: down to which it holds. Further down every subsampled run behaves like one without sampling.
    """

    mu: float
    excess: float
    delta: float


def gaussian_fit(noise_multiplier: float, sample_rate: float, steps: int, delta: float) -> GaussianFit:
    """The mu that may stand for a whole run (Gomez et al. 2503.10945), adding and removing; excess 0 for full batch.

    For every test the run's trade-off curve is at least mu's less delta, so a bound at this mu, such as
    `success.success_limit`, holds for the run if delta is added to it.

    Args:
        as in `epsilon_poisson`.
    """
    noise_multiplier, sample_rate, steps = check_training(noise_multiplier, sample_rate, steps)
    if sample_rate == 1:
        return GaussianFit(float(np.sqrt(steps) / noise_multiplier), 0.0, float(delta))
    delta = float(checks.within(PLD_DELTA_MIN, DELTA_RANGE[1], delta=delta))
    curves = poisson_curves(noise_multiplier, sample_rate, steps, pld_interval(noise_multiplier, sample_rate, steps))
    epsilons = np.unique(np.concatenate([c.epsilons for c in curves]).round(12))
    profile = np.max([np.interp(epsilons, c.epsilons, c.upper - c.lower) for c in curves], axis=0)
    kept, end = (epsilons > 0) & (profile >= delta), max(c.epsilon(delta) for c in curves)
    if end == 0:
        return GaussianFit(0.0, 0.0, delta)  # the run is (0, delta)-DP
    epsilons, profile = np.append(epsilons[kept], end), np.append(profile[kept], delta)
    mu = MU_RANGE[0]
    while True:  # the epsilon where mu's curve is furthest below gives the next mu
        short = np.log(profile) - _log_delta(mu, epsilons)
        worst = int(np.argmax(short))
        if short[worst] <= 1e-9:
            return GaussianFit(float(mu), float((delta_of_epsilon(mu, epsilons) - profile).max()), delta)
        mu = max(mu * (1 + 1e-12), float(_mu_of_epsilon(epsilons[worst], profile[worst])))


def account(
    *,
    delta: float,
    noise_multiplier: float | None = None,
    epsilon: float | None = None,
    mu: float | None = None,
    sample_rate: float = 1.0,
    steps: int = 1,
) -> Budget:
    """The whole budget from one of noise_multiplier, epsilon and mu (of all steps together).

    Raises:
        VpauditError: none or several of the three given, or a number out of range.
    """
    choices = {"noise_multiplier": noise_multiplier, "epsilon": epsilon, "mu": mu}
    given = [name for name, value in choices.items() if value is not None]
    if len(given) != 1:
        raise VpauditError(
            f"exactly one of noise_multiplier, epsilon, mu is needed, got {', '.join(given) or 'none'}",
            "give the one that is known; the others follow",
        )
    _, sample_rate, steps = check_training(1.0, sample_rate, steps)
    if noise_multiplier is not None:
        epsilon = epsilon_poisson(noise_multiplier, sample_rate, steps, delta)
        mu = np.sqrt(steps) / noise_multiplier if sample_rate == 1 else _mu_of_point(epsilon, delta)
    else:
        epsilon, mu = (epsilon, mu_of_epsilon(epsilon, delta)) if mu is None else (epsilon_of_mu(mu, delta), mu)
        exact = sample_rate == 1
        noise_multiplier = (
            np.sqrt(steps) / mu if exact else noise_multiplier_for_epsilon(epsilon, delta, sample_rate, steps)
        )
    return Budget(float(epsilon), float(delta), float(mu), float(noise_multiplier), float(sample_rate), int(steps))


def _mu_of_point(epsilon: float, delta: float) -> float:
    """NaN where epsilon is too small to tell mu from at this delta; the rest of the budget is known."""
    return float(mu_of_epsilon(epsilon, delta)) if epsilon >= EPSILON_RANGE[0] else float("nan")
