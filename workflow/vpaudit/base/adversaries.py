"""Adversaries of a training by DP-SGD, by what they see of its rounds; privacy/adversaries.py gives each one's mu."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Adversary:
    """What it is called, what it sees, and who that is in practice."""

    label: str
    sees: str
    who: str


ADVERSARIES = {
    "final_model": Adversary(
        "the final model alone",
        "the sum of all rounds: initial and trained weights, by plain SGD",
        "a user of the released model",
    ),
    "participation_unknown": Adversary(
        "every round, participation unknown",
        "every round, but not which of them hold the image",
        "the server of federated learning, or whoever reads all model updates: the adversary that ε is about",
    ),
    "participation_known": Adversary(
        "every round, participation known",
        "every round, and which of them hold the image (as many as on average)",
        "an insider: whoever draws the batches, or logs who takes part",
    ),
    "one_round": Adversary(
        "one round that holds the image",
        "a single round, and that it holds the image",
        "whoever intercepts one update at a moment at which the person is known to take part",
    ),
}
