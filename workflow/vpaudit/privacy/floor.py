"""A floor under the error of every attack, however good its prior: van Trees with the prior's own score, and two that
say what they assume.

Let X be an image, X1 = X + a W smoothed at a small a, and Y = X1 + t Z with t^2 = s^2 - a^2, the law of X + s Z. X1 has
a smooth density, whose score is (D(x1, a) - x1) / a^2 (Tweedie) and whose Fisher information is J = E score score'.

    van Trees (theorem):  E |X1 - E[X1 | Y]|^2 >= tr (1/t^2 + J)^-1 = sum_i 1 / (1/t^2 + j_i)
    from X1 to X (exact): given X and Y, X1 is Gaussian with mean X + (a/s)^2 (Y - X) and variance a^2 t^2 / s^2, so
                          E |X - E[X | Y]|^2 = (s/t)^4 (E |X1 - E[X1 | Y]|^2 - N a^2 t^2 / s^2)

and a^2 t^2 / s^2 = 1 / (1/t^2 + 1/a^2). In truth j_i <= 1/a^2. J is estimated, and sum f(j_i) with the convex
f(j) = 1 / (1/t^2 + j) is too high if eigenvalues and eigenvectors come from the same samples (noise spreads them). Here
eigenvectors come from one half, the information along them from the other: sum f(v_i' J v_i) <= sum f(j_i) for any
orthonormal v, so the choice of basis errs to the safe side, and each v_i' J v_i is unbiased with relative error
sqrt(2 / n). What is left of the estimate's error is the network's: its score is not the true one (see docs/theory.md).

Two floors say what they assume, and then hold for every attack that is not told lambda. d is mean squared error:

    certified     E d >= max over r > 0 of (-1/2 ln E e^(-r d(Z, Z')) - I) / r, I >= I(X; Y) in nats
    conditional   F(rho), if the network's error at smoothing a is at most (1 + rho) times the mmse there

Certified: for any reconstruction R, I >= I(X; R) = E KL(law of X given R || law of X), and by Donsker and Varadhan with
-r d(., R) it is at least -r E d(X, R) - ln E e^(-r d(Z, R)), Z a fresh image. e^(-r d) is a positive definite kernel,
so E e^(-r d(Z, z0)) <= sqrt(E e^(-r d(Z, Z'))) for every z0 (`small_ball`). Both I (`information_limit`) and E over
pairs are confidence limits from images alone: no network is asked, and nothing is assumed of the images. It ends where
I passes -1/2 ln of the least E that n images can show: ln(n) / 2 with certainty, about 10 nats by estimate. n images
cannot be told from a law on some n^2 points, which that many nats would name, so no floor free of assumptions exists
there.

Conditional: along orthonormal v_i, c_i = v_i' E Cov(X | X1) v_i gives j_i = 1/a^2 - c_i / a^4 (exact), and the
network's squared errors e_i there are at least c_i. If their sum is at most (1 + rho) times the mmse, sum (e_i - c_i)
is at most rho / (1 + rho) of it. sum 1 / (1/t^2 + j_i) is convex and rising in each c_i, so the least floor takes all
of that from the largest e_i, down to a common level. F(0) is the floor of a perfect network, and the rho at which F
falls to a level that needs no network says how good the network must be (`break_even`).
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from vpaudit.base import checks
from vpaudit.base.errors import VpauditError
from vpaudit.privacy.information import information_limit
from vpaudit.privacy.small_ball import kernel_mean

RATES = np.geomspace(1, 300, 12)  # r of the certified floor, per squared pixel
KEPT = (0.0, 0.1, 0.3, 1.0)  # of what the first sample says off the diagonal


@dataclass(frozen=True)
class Information:
    """Fisher information of images smoothed at `smoothing`, along an orthonormal basis.

    Attributes:
        smoothing: a > 0; values: (N,) v_i' J v_i; standard_errors: (N,); basis: (N, N), v_i its columns.
    """

    smoothing: float
    values: np.ndarray
    standard_errors: np.ndarray
    basis: np.ndarray | None = None


def fisher_information(
    basis_scores: np.ndarray, value_scores: np.ndarray, smoothing: float, directions: np.ndarray | None = None
) -> Information:
    """From scores (n, N) of two disjoint samples: a basis from the first, information along it in the second.

    Args:
        directions: orthonormal (N, N), such as the images' principal directions. Few samples scramble eigenvectors of
            neighbouring eigenvalues; the first sample's information is therefore also shrunk in steps towards its
            diagonal along these. Of all bases the one counts along which the information is spread most; every one of
            them errs to the safe side.
    """
    checks.positive(smoothing=smoothing)
    if basis_scores.shape[1] != value_scores.shape[1]:
        raise VpauditError(
            f"scores of {basis_scores.shape[1]} and {value_scores.shape[1]} pixels", "use images of one size"
        )
    found = []
    for basis in _bases(basis_scores, directions):
        found.append(Information(smoothing, *along(value_scores, basis), basis))
    return max(found, key=lambda f: (1 / (1 / smoothing**2 + f.values)).sum())


def along(vectors: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) mean squares of vectors (n, N) along the columns of an orthonormal basis, and their standard errors."""
    squares = (vectors @ basis) ** 2
    return squares.mean(axis=0), squares.std(axis=0, ddof=1) / np.sqrt(len(squares))


def _bases(scores: np.ndarray, directions: np.ndarray | None):
    """Eigenvectors of the scores' second moments, kept off the diagonal (along `directions`) in full, in part, not."""
    if directions is None:
        directions, kept = np.eye(scores.shape[1]), (1.0,)
    else:
        kept = KEPT
    along = scores @ directions
    moments = along.T @ along / len(scores)
    for share in kept:
        shrunk = share * moments + (1 - share) * np.diag(np.diag(moments))
        yield directions @ np.linalg.eigh(shrunk)[1]


def van_trees(information: Information, s) -> np.ndarray:
    """Floor of E |X - E[X | Y]|^2, summed over pixels, at noise s > smoothing (an array too); 0 where it says nothing.

    Estimated values above 1/a^2 take away what those below the truth add: cut off there, noise would lift the sum. So
    does convexity; its second order, f''(j) / 2 times the squared standard error, is taken off.
    """
    a, s = information.smoothing, _above(s, information.smoothing)
    t2 = (s**2 - a**2)[..., None]
    shrunk = 1 / (1 / t2 + information.values)
    gained = shrunk - information.standard_errors**2 * shrunk**3 - 1 / (1 / t2 + 1 / a**2)
    return np.maximum((s**2 / (s**2 - a**2)) ** 2 * gained.sum(axis=-1), 0.0)


def _above(s, smoothing: float) -> np.ndarray:
    s = checks.positive(s=s)
    if np.any(s <= smoothing):
        raise VpauditError(f"s={np.min(s):g} is not above the smoothing {smoothing:g}", "choose a smaller smoothing")
    return s


def van_trees_error(information: Information, s) -> np.ndarray:
    """Standard error of `van_trees` from that of the values, by the delta method; values are taken as independent."""
    s, a = checks.positive(s=s), information.smoothing
    t2 = (s**2 - a**2)[..., None]
    slope = 1 / (1 / t2 + information.values) ** 2
    spread = np.sqrt(((slope * information.standard_errors) ** 2).sum(axis=-1))
    return (s**2 / (s**2 - a**2)) ** 2 * spread


def certified(mse: np.ndarray, nats, confidence: float | None = 0.95) -> np.ndarray:
    """(...): floor of E MSE (a value) of any attack that is not told lambda; 0 where it says nothing.

    Args:
        mse: (n, n) between independent images of the attacked kind.
        nats: (...) I(X; Y) at most; a confidence limit if it is measured.
        confidence: of the limits of E e^(-r d) (Bonferroni over `RATES`); None for their estimates.
    """
    nats = checks.non_negative(nats=nats)
    means = np.array([kernel_mean(mse, rate, confidence, len(RATES)) for rate in RATES])
    return np.maximum(((-0.5 * np.log(means) - nats[..., None]) / RATES).max(axis=-1), 0.0)


def certified_by_images(images: np.ndarray, mus, max_grad_norm: float, confidence: float = 0.95) -> np.ndarray:
    """(...): `certified` at each mu, from nothing but independent images (n, N) of the attacked kind in [-1, 1].

    Half of 1 - confidence is spent on the information, half on the distances.
    """
    squares, each = np.square(images).sum(axis=1), (1 + confidence) / 2
    nats = information_limit(images / np.sqrt(np.maximum(squares, max_grad_norm**2))[:, None], mus, each)
    mse = np.maximum(squares[:, None] + squares - 2 * images @ images.T, 0.0) / images.shape[1]
    return certified(mse, nats, each)


def conditional(errors: np.ndarray, standard_errors: np.ndarray, smoothing: float, s, excess: float) -> np.ndarray:
    """F(rho) (...): floor of E |X - E[X | Y]|^2, summed over pixels, if the network is that good; 0 if it says nothing.

    Args:
        errors: (N,) E (v_i' (D(x1, a) - x))^2 along orthonormal directions, with standard_errors (N,).
        smoothing: a, of x1 = x + a w; s: (...) > a; excess: rho >= 0, the network's error is at most (1 + rho) mmse.
    """
    excess, a, s = float(checks.non_negative(excess=excess)), smoothing, _above(s, smoothing)
    covariances = np.minimum(_lowered(np.asarray(errors, dtype=float), excess / (1 + excess)), a**2)
    t2 = (s**2 - a**2)[..., None]
    shrunk = 1 / (1 / t2 + 1 / a**2 - covariances / a**4)
    gained = shrunk - np.asarray(standard_errors) ** 2 * shrunk**3 / a**8 - 1 / (1 / t2 + 1 / a**2)  # to second order
    return np.maximum((s**2 / (s**2 - a**2)) ** 2 * gained.sum(axis=-1), 0.0)


def _lowered(errors: np.ndarray, share: float) -> np.ndarray:
    """Errors cut to the common level that takes `share` of their sum off the largest."""
    rising = np.sort(errors)
    kept = np.cumsum(rising) + rising * np.arange(len(rising) - 1, -1, -1)  # sum of min(errors, rising_k)
    target = (1 - share) * errors.sum()
    k = int(np.searchsorted(kept, target))
    if k >= len(rising):
        return errors
    before = rising[:k].sum()
    return np.minimum(errors, (target - before) / (len(rising) - k))


def break_even(errors: np.ndarray, standard_errors: np.ndarray, smoothing: float, s, level: float) -> float:
    """The rho at which the mean of F(rho) over s falls to `level` (summed over pixels): 0 if F(0) is below it, inf if F
    never is."""

    def above(excess):
        return float(conditional(errors, standard_errors, smoothing, s, excess).mean()) - level

    if above(0.0) <= 0:
        return 0.0
    return float(brentq(above, 0.0, 1e3)) if above(1e3) < 0 else float("inf")
