"""Commands that make what studies start from: `fetch`, `fetch-prior`, `fit-gaussian`, `few-step`."""

import argparse
import os
from pathlib import Path

from vpaudit.base import places
from vpaudit.base.errors import VpauditError
from vpaudit.study import config as configuration
from vpaudit.study.layout import Layout


def add_fetch(fetch: argparse.ArgumentParser) -> None:
    fetch.add_argument("name", help="data set card, e.g. fashion_mnist")
    fetch.add_argument("--out", help="folder (default: resources/data/full in the working folder)")
    fetch.add_argument("--mirror", help="local folder to look in first (also: VPAUDIT_MIRROR)")
    fetch.set_defaults(run=_fetch)


def _fetch(arguments) -> None:
    from vpaudit import data

    if arguments.mirror:
        os.environ["VPAUDIT_MIRROR"] = arguments.mirror
    about = data.card(arguments.name)
    out = Path(arguments.out or places.home() / "resources/data/full")
    print(f"{about['title']}\nlicence: {about['licence']}\nit is used here and never redistributed", flush=True)
    if "hub" in about:
        from vpaudit.data import parquet

        print(parquet.fetch(arguments.name, about, out, out.parent / "lock.yaml"))
    else:
        from vpaudit.data import fetch

        print(fetch.fetch(arguments.name, out))


def add_fetch_prior(public: argparse.ArgumentParser) -> None:
    public.add_argument("name", help="card of workflow/vpaudit/priors/cards.yaml, e.g. ddpm_cifar10")
    public.add_argument("--out", help="folder (default: resources/priors in the working folder)")
    public.set_defaults(run=_fetch_prior)


def _fetch_prior(arguments) -> None:
    from vpaudit.priors import fetch

    about = fetch.card(arguments.name)
    print(f"{about['repo']} at {about['revision']}: licence {about['licence']}; trained on {about['trained_on']}")
    print(fetch.fetch(arguments.name, arguments.out or places.home() / "resources/priors"))


def add_fit_gaussian(gauss: argparse.ArgumentParser) -> None:
    gauss.add_argument("name", nargs="?", help="data set card, e.g. fashion_mnist")
    gauss.add_argument("--config", help="study whose training images, instead of a card's")
    gauss.add_argument("--out", required=True, help="folder to write")
    gauss.set_defaults(run=_fit_gaussian)


def _fit_gaussian(arguments) -> None:
    from vpaudit.stages import priors

    if bool(arguments.name) == bool(arguments.config):
        raise VpauditError("give a data set or --config, one of them", "e.g. vpaudit fit-gaussian fashion_mnist")
    named = {"data": {"name": arguments.name}}
    study = configuration.load(arguments.config) if arguments.config else configuration.resolve(named)
    priors.fit_gaussian(study, Layout(study), arguments.out)


def add_few_step(few: argparse.ArgumentParser) -> None:
    few.add_argument(
        "--config", default="config/config.yaml", help="study whose data and settings (default: %(default)s)"
    )
    few.add_argument("--prior", required=True, help="diffusers folder, e.g. results/embedded/prior")
    few.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads (default: all)")
    few.add_argument("--refine", type=int, metavar="STEPS", help="refine the fitted samplers by gradient, >= 1 (GPU)")
    few.add_argument("--seconds", type=float, help="time limit for each sampler that is refined (default: none)")
    few.add_argument("--device", default="auto", help="of the refinement: auto, cpu or cuda (default: auto)")
    few.set_defaults(run=_few_step)


def _few_step(arguments) -> None:
    import torch

    from vpaudit.stages import priors

    torch.set_num_threads(max(1, arguments.threads))
    study = configuration.load(arguments.config)
    if arguments.refine:
        priors.refine_few_step(study, arguments.prior, arguments.refine, arguments.device, arguments.seconds)
    else:
        priors.few_step(study, Layout(study), arguments.prior)
