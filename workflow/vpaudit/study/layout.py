"""Where every file of a study is: the one place that rules, stages and figures ask."""

from pathlib import Path

from vpaudit.base import files
from vpaudit.study.config import Config

# Tables of what is measured image by image, each gathered from parts; `references` of releases without the target.
MEASURED = ("metrics", "baselines", "consistency", "references")


class Layout:
    """Paths of a study, relative to the repository's root.

    `part` is a value of the grid of mu, such as "5" or "0.5", or a shard at one (`parts`).
    """

    def __init__(self, config: Config):
        self.results = config.results
        self.figures = Path("figures") / config.study
        self.work = Path("work") / config.study
        self.prior = Path(config.prior.path)
        self.gaussian = Path(config.prior.gaussian)

    @property
    def prior_card(self) -> dict:
        """What is said of the prior; nothing, if it is a foreign one."""
        path = self.prior / "card.json"
        return files.read_json(path) if path.exists() else {}

    @property
    def trained_prior(self) -> Path:
        """Where `train_prior` writes; the study reads `prior.path`, which may be this folder."""
        return self.results / "prior"

    @property
    def config(self) -> Path:
        return self.results / "config.yaml"

    @property
    def targets(self) -> Path:
        return self.results / "targets.npz"

    @property
    def skipped(self) -> Path:
        """Images of a folder that were left out, with the reason; file names, so it stays where the study is."""
        return self.results / "skipped.csv"

    @property
    def public(self) -> Path:
        """Images of the targets' kind that the adversary knows, none of the targets."""
        return self.results / "public.npz"

    def observation(self, part: str) -> Path:
        return self.results / "observations" / f"mu={part}.npz"

    def reconstruction(self, part: str) -> Path:
        return self.results / "reconstructions" / f"mu={part}.npz"

    def references(self, part: str) -> Path:
        """What attacks make of releases that do not hold the target."""
        return self.results / "references" / f"mu={part}.npz"

    def participation(self, noise_multiplier: float) -> Path:
        """What all rounds of a training say of the images to who does not know their part, and is made of it."""
        return self.results / "participation" / f"noise={noise_multiplier:g}.npz"

    def seen(self, config: Config) -> dict[str, Path]:
        """Where is what was made of that which adversaries of an audit see, by its name."""
        at_mu = {f"mu={mu:g}": self.reconstruction(f"{mu:g}") for mu in config.recognition.mu}
        after_rounds = {f"noise={noise:g}": self.participation(noise) for noise in config.rounds.noise_multiplier}
        return at_mu | after_rounds

    def part(self, table: str, part: str) -> Path:
        """A table's rows for one part (or, for baselines, "unrelated")."""
        return self.results / "parts" / table / f"mu={part}.parquet"

    def table(self, name: str) -> Path:
        return self.results / f"{name}.parquet"

    def experiment(self, name: str, mu: str | None = None) -> Path:
        """The table of an experiment, or its part at one mu."""
        if mu is None:
            return self.results / "experiments" / f"{name}.parquet"
        return self.results / "experiments" / "parts" / name / f"mu={mu}.parquet"

    def experiment_claims(self, name: str) -> Path:
        """What an experiment's table says on its claims."""
        return self.results / "experiments" / f"{name}.claims.json"

    @property
    def summary(self) -> Path:
        return self.results / "summary.json"

    @property
    def run(self) -> Path:
        """Versions, machine and times of the run that made the summary; never the same twice, so not in git."""
        return self.results / "run.json"

    def timing(self, stage: str) -> Path:
        """Snakemake's benchmark file of a job."""
        return self.results / "timings" / f"{stage}.tsv"

    def log(self, job: str) -> Path:
        """What a job said of itself: when it ran, how it ended, and why it failed."""
        return Path("logs") / self.results.name / f"{job}.log"

    def figure(self, name: str, kind: str) -> Path:
        """A file of a figure of the paper's study."""
        return self.figures / f"{name}.{kind}"

    def experiment_figure(self, name: str, kind: str) -> Path:
        """A file of an experiment's figure."""
        return self.engine_figures / f"{name}.{kind}"

    @property
    def engine_figures(self) -> Path:
        return self.figures.with_name(f"{self.figures.name}-engine")

    @property
    def report(self) -> Path:
        return self.results / "report.html"
