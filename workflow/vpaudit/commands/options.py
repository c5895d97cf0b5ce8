"""Options that describe a private training, the same wherever a command asks for one."""

OPTIONS = {
    "--epsilon": {"type": float, "metavar": "E", "help": "budget of the whole training, 0.001 to 100,000"},
    "--noise-multiplier": {"type": float, "metavar": "S", "help": "sigma/C of one step, 0.01 to 10,000"},
    "--mu": {"type": float, "metavar": "M", "help": "C/sigma of all that is released of an image, > 0"},
    "--delta": {"type": float, "metavar": "D", "default": 1e-5, "help": "in (0, 1) (default: %(default)g)"},
    "--steps": {"type": int, "metavar": "T", "default": 1, "help": "of the training, 1 to 1,000,000 (default: 1)"},
    "--sample-rate": {
        "type": float, "metavar": "Q", "default": 1.0, "help": "of Poisson sampling, (0, 1] (default: 1)"
    },
}  # fmt: skip


def add(command, *names: str, **changes) -> None:
    """Add the options named to a parser or a group; changes, such as `nargs`, hold for all of them."""
    for name in names:
        command.add_argument(name, **OPTIONS[name] | changes)


def training(arguments) -> dict:
    """What was said of the training, as `accounting.account` takes it."""
    names = [option.strip("-").replace("-", "_") for option in OPTIONS]
    return {name: getattr(arguments, name) for name in names}
