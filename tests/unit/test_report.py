"""The page from an invented study: stands alone, holds every claim, takes its numbers from the tables."""

import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import yaml
from fake_results import MU, write, write_figures

from vpaudit.base.errors import VpauditError
from vpaudit.base.labels import number
from vpaudit.report import figures, words
from vpaudit.report import page as report
from vpaudit.report.results import Results

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """Tags with attributes, text, headings; fails on a tag that is not closed."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.words, self.headings, self.open = [], [], [], []
        self.feed(text)
        assert not self.open
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def made(folder, **options):
    results = write(folder / "results", **options)
    write_figures(folder / "figures", figures.NAMES)
    report.build(results, folder / "figures", folder / "report.html")
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return made(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def page(study):
    return Page((study / "report.html").read_text(encoding="utf-8"))


def test_nothing_is_loaded_from_elsewhere(study, page):
    text = (study / "report.html").read_text(encoding="utf-8")
    assert len(text.encode()) < 15e6
    for attribute in ("src", "href", "srcset", "data", "action"):
        for _, attributes in page.tags:
            value = attributes.get(attribute)
            assert (
                value is None
                or value.startswith(("#", "data:image/png;base64,"))
                or value == ("https://arxiv.org/abs/2403.07588")
            )
    style = text.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_every_figure_with_alt_text_caption_n_interval_and_seed(page):
    images = [image for image in page.all("img") if int(image.get("width", 0)) > 300]
    assert len(images) == len(figures.NAMES)
    assert all(len(image["alt"]) > 40 for image in images)
    captions = [c for c in re.findall(r"Figure \d\..*?seed \d+\.", page.text)]
    assert len(captions) == len(figures.NAMES)
    assert all("30 images of discs" in c and "seed 7" in c for c in captions)
    assert sum("95 % intervals by bootstrap" in c for c in captions) == 3


def test_every_claim_with_value_interval_n_and_verdict(study, page):
    claims = json.loads((study / "results" / "summary.json").read_text())["claims"]
    ids = {attributes.get("id") for _, attributes in page.tags}
    for claim in claims:
        assert claim["id"] in ids
        assert claim["claim"] in page.text
        assert claim["measured"] in page.text
        assert claim["verdict"] in page.text
    assert "−0.2 −0.3 to −0.1 30" in page.text
    assert "<always>" in page.text  # escaped in the source, or the parser would have taken it for a tag
    assert "mu" not in page.text.split()


def test_headings_are_in_order_and_links_lead_somewhere(page):
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(page.headings, page.headings[1:]))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(a["href"][1:] in ids for a in page.all("a") if a["href"].startswith("#"))
    assert page.all("html")[0]["lang"] == "en"


def test_numbers_are_those_of_the_tables(study, page):
    table = pd.read_parquet(study / "results" / "metrics.parquet")
    others = pd.read_parquet(study / "results" / "baselines.parquet").query("kind == 'reconstruction_vs_other'")
    for attack in ("posterior_mean", "ddim"):
        pick = f"prior == 'unconditional' and attack == '{attack}' and metric == 'mse' and mu == 10"
        rows, base = table.query(pick), others.query(pick)["value"].mean()
        assert f"{100 * (1 - rows['value'].mean() / base):.0f} % [" in page.text
        assert number(rows["value"].mean()) in page.text
    for mu in MU:
        assert f"{number(Results(study / 'results').epsilon(mu))}" in page.text


def test_bland_output_is_no_success(study):
    """Output that is as near to any image as to its own has a share of 0, however small its error."""
    read = Results(study / "results")
    for share in (0.0, 0.5):
        read.metrics = worse(read, "mse", 1 - share)
        assert read.recovered("ddim")[["value", "low", "high", "upper"]].to_numpy() == pytest.approx(share, abs=1e-6)


def test_tables_of_before_pairs_were_kept_are_refused(study):
    read = Results(study / "results")
    read.baselines = read.baselines.drop(columns="other")
    with pytest.raises(VpauditError, match="no column `other`"):
        read.recovered("ddim")


def test_plain_words_follow_the_numbers(study):
    read = Results(study / "results")
    *sentences, end = words.plain_words(read)
    assert end.startswith("Is there noise so strong")
    assert sentences[0].startswith("At µ = 1 (ε = 4.38), the strongest noise tested,")
    assert words.WORDS[-1] in sentences[-1]
    steps = [next(i for i, words in enumerate(words.WORDS) if words in s) for s in sentences]
    assert steps == sorted(set(steps))
    read.metrics = worse(read, "mse", 1.0)
    sentence, _ = words.plain_words(read)
    assert f"{words.NOTHING} (less than 5" in sentence


def worse(read: Results, metric: str, *shares: float) -> pd.DataFrame:
    """Metrics in which DDIM and the best guess keep these shares of the distance to other images, by rising mu."""
    table = read.metrics.copy()
    for attack in ("posterior_mean", "ddim"):
        others = read.others(attack, metric)
        here = (table["prior"] == "unconditional") & (table["attack"] == attack) & (table["metric"] == metric)
        for place, mu in enumerate(others.columns):
            row = here & np.isclose(table["mu"], mu)
            share = shares[min(place, len(shares) - 1)]
            table.loc[row, "value"] = share * others[mu].loc[table.loc[row, "image"]].to_numpy()
    return table


def test_the_end_is_told_by_margin_and_once_for_metrics_with_one_answer(study):
    read = Results(study / "results")
    for metric, shares in (("mse", (0.97, 0.85)), ("ssim", (1.0,)), ("lpips_vgg_64", (1.0,))):
        read.metrics = worse(read, metric, *shares)
    (sentence,) = words.end_of_success(read)
    assert "DDIM recovers by MSE, less than 5\u00a0% up to µ = 1.12, less than 10\u00a0% up to µ = 1.50" in sentence
    assert "more than 1\u00a0%, or not shown to be less, at every µ asked (a smaller µ would settle it); by" in sentence
    assert sentence.endswith("by 1 − SSIM and LPIPS-VGG, less than 1\u00a0% at every µ asked.")


@pytest.mark.parametrize(("value", "low", "said"), [
    (0.03, -0.1, "more images"), (0.2, 0.1, "a smaller µ"), (0.07, -0.1, "a smaller µ, or more images,"),
])  # fmt: skip
def test_what_would_settle_an_end_is_told(value, low, said):
    assert words.remedy({"value": value, "low": low}, 0.05) == said


def test_an_interval_without_an_end_is_called_open():
    assert words.percent({"value": 0.5, "low": -np.inf, "high": np.inf}) == "50\u00a0% [open, open]"


def test_provenance_and_limits_are_told(page):
    for text in (
        "torch 2.14.1", "2 processor cores", "1,234,567 weights", "5,000 training examples seen", "reconstruct 61 s",
        "seed: 7", "steps 16", "What was assumed about the attacker", "What was not tested", "DP-SGD",
    ):  # fmt: skip
        assert text in page.text, text


def test_missing_lpips_says_so(tmp_path):
    page = Page((made(tmp_path, lpips=False, images=8) / "report.html").read_text())
    assert "Not measured in this run: LPIPS-VGG" in page.text
    assert "LPIPS could not be computed: no VGG16 backbone was found" in page.text
    assert "LPIPS-VGG: it could not be computed in this run." in page.text


def test_unrecorded_values_and_private_folders(study, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(study / "results", results)
    summary = json.loads((results / "summary.json").read_text())
    summary["prior"] = {key: None for key in summary["prior"]}
    (results / "summary.json").write_text(json.dumps(summary))
    run = json.loads((results / "run.json").read_text())
    (results / "run.json").write_text(json.dumps(run | {"wall_time": {}}))
    config = yaml.safe_load((results / "config.yaml").read_text())
    config["data"]["folder"] = "/home/someone/patients"
    (results / "config.yaml").write_text(yaml.safe_dump(config))
    report.build(results, study / "figures", tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text())
    assert "not recorded weights" in page.text
    assert "patients" not in page.text
    assert "(not shown)" in page.text


def test_same_files_same_page(study, tmp_path):
    report.build(study / "results", study / "figures", tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == (study / "report.html").read_bytes()


def test_a_missing_figure_is_named_and_leaves_no_page(study, tmp_path):
    with pytest.raises(VpauditError, match=r"reconstructions\.png does not exist"):
        report.build(study / "results", tmp_path, tmp_path / "report.html")
    assert not list(tmp_path.iterdir())
