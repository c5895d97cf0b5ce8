"""A prior that is asked the same question once."""

import torch

from vpaudit.priors.remembered import Remembered


class Counting:
    """Answers x / (1 + sigma^2), plus the label; counts the images that it is asked for."""

    shape, sigma_min, sigma_max, num_classes = (1, 4, 4), 0.01, 100.0, 3

    def __init__(self):
        self.asked = 0

    def denoise(self, x, sigma, labels=None):
        self.asked += len(x)
        shift = 0 if labels is None else labels[:, None, None, None]
        return x / (1 + sigma[:, None, None, None] ** 2) + shift


def questions(count: int, seed: int = 0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(count, 1, 4, 4, generator=rng), 0.1 + torch.rand(count, generator=rng)


def test_an_answer_is_given_again_and_only_new_images_are_asked_for():
    prior = Counting()
    held, (x, sigma) = Remembered(prior), questions(5)
    first = held.denoise(x[:3], sigma[:3])
    assert torch.equal(first, Counting().denoise(x[:3], sigma[:3]))
    assert torch.equal(held.denoise(x, sigma), Counting().denoise(x, sigma))
    assert prior.asked == 5
    assert held.num_classes == 3  # all else is the prior's own


def test_noise_and_label_are_part_of_the_question():
    prior, (x, sigma) = Counting(), questions(2)
    held = Remembered(prior)
    labels = torch.tensor([0, 2])
    for some in (None, labels, 2 - labels):
        assert torch.equal(held.denoise(x, sigma, some), Counting().denoise(x, sigma, some))
    assert torch.equal(held.denoise(x, 2 * sigma), Counting().denoise(x, 2 * sigma))
    assert prior.asked == 8


def test_the_oldest_answers_go_first():
    prior, (x, sigma) = Counting(), questions(6)
    held = Remembered(prior, most=4 * 2 * x[0].nbytes)
    held.denoise(x, sigma)
    held.denoise(x[2:], sigma[2:])
    assert prior.asked == 6
    held.denoise(x[:1], sigma[:1])
    assert prior.asked == 7
