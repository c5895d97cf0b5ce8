"""Small sharp images from larger ones."""

import numpy as np
import pytest
from scipy import ndimage

from vpaudit import data
from vpaudit.base.errors import VpauditError
from vpaudit.data.reduce import LUMA, cosines


@pytest.fixture(scope="module")
def photographs():
    """uint8 (12, 80, 96, 3): coloured noise that is smooth at every scale, as photographs are."""
    rng = np.random.default_rng(0)
    fields = sum(ndimage.gaussian_filter(rng.normal(size=(12, 80, 96, 3)), (0, s, s, 0)) * s for s in (1, 3, 9))
    return np.clip(128 + 60 * fields / fields.std(), 0, 255).astype(np.uint8)


def test_cuts_are_reproducible_and_of_the_size_asked_for(photographs):
    a, b = (data.reduced(photographs, 32, 30, (seed, "x")) for seed in (0, 0))
    assert a.shape == (30, 32, 32, 3)
    assert np.array_equal(a, b)
    assert not np.array_equal(a, data.reduced(photographs, 32, 30, (1, "x")))
    assert not np.array_equal(a[0], a[12])  # another cut of the same image


def test_no_cut_is_enlarged_or_taken_of_too_small_an_image(photographs):
    with pytest.raises(VpauditError, match="at least 82"):
        data.reduced(photographs, 41, 3, (0,))


def test_brightness_takes_the_spectrum_of_the_example(photographs):
    sharp = data.reduced(photographs, 32, 300, (0,))
    soft = ndimage.gaussian_filter(data.reduced(photographs, 32, 300, (5,)), (0, 0.8, 0.8, 0))
    made = data.as_sharp_as(sharp, soft)

    def spectrum(images):
        return np.square(cosines(images @ LUMA)).mean(0)

    assert made.dtype == np.uint8
    assert np.abs(made.mean((1, 2)) - sharp.mean((1, 2))).max() < 3
    ratio = spectrum(made)[:12, :12] / spectrum(soft)[:12, :12]
    assert np.median(ratio) == pytest.approx(1, abs=0.1)
    assert np.median(spectrum(sharp)[4:12, 4:12] / spectrum(soft)[4:12, 4:12]) > 1.5
