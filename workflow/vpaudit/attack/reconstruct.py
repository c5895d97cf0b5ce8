"""The attack: recover x from y = lambda x + sigma z with a prior over images.

Start the prior's reverse process at s = sigma / lambda, the noise of the rescaled observation, and run it to zero.
Nothing here sees a target or a metric; what the threat model does not share is not an argument. The result of an
image depends on (study seed, data set, image id, mu, draw) and on nothing that stands beside it (design invariant 1).
"""

from collections.abc import Iterator

import torch

from vpaudit.base.denoiser import Denoiser, accepts
from vpaudit.base.errors import VpauditError
from vpaudit.base.pixels import HIGH, LOW
from vpaudit.base.randomness import KeyedNoise, generator
from vpaudit.privacy.mechanism import Observation
from vpaudit.sampling import samplers
from vpaudit.study.config import Attack


def reconstruct(
    observation: Observation,
    prior: Denoiser | None,
    attack: Attack,
    seed: int,
    conditioning: str = "unconditional",
    draw: int = 0,
) -> torch.Tensor:
    """One reconstruction of each observed image.

    Args:
        prior: None for `raw`.
        conditioning: "unconditional", "true_class" (the adversary knows the class) or "wrong_class" (it believes
            another one).
        draw: number of the draw; stochastic samplers give another posterior draw for each.

    Returns:
        float32 (B, C, H, W), clipped to [-1, 1].
    """
    x, s = observation.rescaled(), observation.s.float()
    if attack.kind == "raw":
        return x.clamp(LOW, HIGH)
    if attack.kind == "given_norm":
        raise VpauditError(
            f"attack {attack.name!r}: given_norm needs public images beside a prior",
            "run it in a study, or as attack.given_norm.GivenNorm",
        )
    if not accepts(prior.shape, x.shape[1:]):
        raise VpauditError(
            f"the prior makes images of shape {prior.shape}, the data has {tuple(x.shape[1:])}",
            "choose a prior of the data's shape in prior.path",
        )
    samplers.check_range(s, prior)
    check_scale(x, s)
    labels = class_labels(observation, conditioning, prior.num_classes, seed)
    device = getattr(prior, "device", x.device)  # the chain runs where the prior does
    x, s, labels = x.to(device), s.to(device), labels if labels is None else labels.to(device)

    def denoise(state, sigma):
        return prior.denoise(state, sigma, labels)

    if attack.kind in ("posterior_mean", "wiener"):
        return denoise(x, s).clamp(LOW, HIGH)
    keys = [
        (seed, observation.dataset, i, f"mu={observation.mu:g}", f"draw={draw}", attack.name)
        for i in observation.ids.tolist()
    ]
    noise = KeyedNoise(keys, x.shape[1:], x.device) if attack.stochastic else None
    return samplers.last(chain(denoise, x, s, prior, attack, noise)).clamp(LOW, HIGH)


def check_scale(x: torch.Tensor, s: torch.Tensor) -> None:
    """Refuse what cannot be an image on [-1, 1] plus noise s, even with lambda off by a factor of four."""
    rms = x.flatten(1).double().square().mean(dim=1).sqrt()
    most = 4 * (1 + s.double() ** 2).sqrt()
    if bool((rms > most).any()):
        worst = int((rms / most).argmax())
        raise VpauditError(
            f"the rescaled observation has root mean square {float(rms[worst]):.4g} at noise s={float(s[worst]):.4g}: "
            "it is not an image on [-1, 1] plus that noise",
            "bring images to [-1, 1] (and C and sigma with them) before the release, or correct lambda",
        )


def chain(denoise, x, s, prior, attack: Attack, noise: KeyedNoise | None = None) -> Iterator[torch.Tensor]:
    """The states of a sampler from x (B, C, H, W) at noise s (B,) to the end, by the attack's kind and options."""
    if attack.kind == "few_step":
        plans = getattr(prior, "few_step", {})
        if attack.steps not in plans:
            raise VpauditError(
                f"attack {attack.name!r}: the prior has no few-step solver of {attack.steps} calls "
                f"(fitted: {', '.join(map(str, plans)) or 'none'})",
                "run `vpaudit few-step --prior FOLDER`, or use kind: multistep",
            )
        if prior.gaussian is None:
            raise VpauditError(
                f"attack {attack.name!r}: few-step solvers take their first steps from a Gaussian prior, none is here",
                "set prior.gaussian (in Python: network.gaussian)",
            )
        levels, coefficients = plans[attack.steps].at(s)
        x = prior.gaussian.transport(x, s, levels[:, 0])  # above the first call the flow is the Gaussian prior's
        return samplers.linear_steps(denoise, x, levels, coefficients, prior.gaussian)
    levels = samplers.noise_levels(s, attack.steps, attack.spacing, table=getattr(prior, "table", None))
    if attack.kind == "multistep":
        return samplers.multistep_steps(denoise, x, levels, attack.eta, noise, attack.order)
    if attack.kind == "heun":
        return samplers.heun_steps(denoise, x, levels, attack.churn, noise)
    stepper = {"ddim": samplers.ddim_steps, "ddrm": samplers.ddrm_steps}[attack.kind]
    return stepper(denoise, x, levels, attack.eta, noise)


def class_labels(observation: Observation, conditioning: str, num_classes: int, seed: int) -> torch.Tensor | None:
    """What the prior is told of the class: nothing, the true class, or another one (keyed by image)."""
    if conditioning == "unconditional":
        return None
    if num_classes < 2:
        raise VpauditError(
            f"conditioning {conditioning!r} needs a class-conditional prior", "use a prior with class labels"
        )
    if (observation.labels < 0).any():
        raise VpauditError(
            f"conditioning {conditioning!r} needs the class of every image", "drop it for images without classes"
        )
    if conditioning == "true_class":
        return observation.labels
    shift = [
        1 + int(torch.randint(num_classes - 1, (), generator=generator(seed, observation.dataset, i, "wrong class")))
        for i in observation.ids.tolist()
    ]
    return (observation.labels + torch.tensor(shift)) % num_classes
