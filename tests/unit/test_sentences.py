"""Sentences found to be wrong do not come back: not in documents, captions, messages or docstrings.

Each pattern of the table has its reason, and the words that make such a sentence true if they are beside it.
"""

import re
import subprocess
from dataclasses import dataclass

import pytest

READ = (".md", ".py", ".yaml", ".j2", ".html", ".js", ".smk", ".txt", ".ipynb", ".json", ".tex", ".rst")
LEFT_OUT = ("tests/", "resources/")
BESIDE = 200  # characters on either side of a match in which `right` may be


@dataclass(frozen=True)
class Wrong:
    """pattern: of the sentence; why it is wrong; example: one; true: a sentence with words that make it right, which
    `right` finds; where: pattern of the paths in which it is wrong."""

    pattern: str
    why: str
    example: str
    true: str
    right: str = r"(?!)"
    where: str = ""


TABLE = {
    "below ReRo": Wrong(
        r"\b(stay|stays|stayed|is|are|lies|remains?) (well )?below (\(0, γ\)-)?(ReRo|reconstruction robustness)",
        "(0, gamma)-ReRo bounds the chance of naming the image, not a metric; partial success may exceed it",
        example="The attack stays\nbelow ReRo.",
        true="The paper says that its attack stays below ReRo.",
        right=r"the paper|paper's|paper\"?:|success stays within",
    ),
    "ReRo on a metric": Wrong(
        r"(ReRo|γ|gamma)( is)? (drawn )?on the (metric's axis|axis of an? .{0,6}metric)|margin to the \(0, γ\)-ReRo"
        r"|(worse|better) than the adversary of the ReRo|ReRo\)? limits the error|between two bounds",
        "gamma * perfect + (1 - gamma) * fallback bounds no attack",
        example="ReRo is drawn on the metric's axis as an expected value.",
        true="The paper draws ReRo on the metric's axis; such a line bounds no attack.",
        right=r"bounds no attack|bounds nothing",
    ),
    "Shannon as a floor": Wrong(
        r"no attack.{0,40} can .{0,300}Shannon|Shannon.{0,120}no attack.{0,20} can",
        "a denoiser's excess error lifts the estimate: 5 % of error, up to 22 % of floor",
        example="No attack on such images can have less than 0.055 [0.055, 0.055] (Shannon).",
        true="Shannon's is an estimate, not what no attack can beat.",
        right=r"not what no attack can|not a floor",
    ),
    "no closer": Wrong(
        r"(is|are) no closer (to|than)|\"no closer to its own\"",
        "a posterior mean is closer to its own image at every mu > 0; a test that shows nothing measures its own power",
        example="Below µ = 0.3 output is no closer to its own image than to others.",
        true="There is no µ below which output is no closer to its own image than to others.",
        right=r"there is no (µ|mu) below which",
    ),
    "called real": Wrong(
        r"(of the pixels|pixels) called real(,| are) (at most|wrong at no more)",
        "what is controlled is the false-discovery proportion of an image, in expectation over images",
        example="Pixels called real are wrong at no more than 5 %.",
        true="Pixels called real are wrong at no more than 5 %: false discoveries are controlled.",
        right=r"false.discover",
    ),
    "Shannon's floor": Wrong(
        r"no (attack|adversary)[^.]{0,90}Shannon",
        "taken from a denoiser's error, Shannon's floor errs upwards by up to 22 % and bounds nothing",
        example="no attack on such images can have less than 0,055 (Shannon)",
        true="Shannon's floor errs upwards, so it says nothing of what no attack can beat.",
    ),
    "a theorem": Wrong(
        r"\(a theorem\)|(ReRo|floor|γ)[^.;:]{0,60} is a theorem",
        "a bound for an adversary that sees y alone says nothing of attacks that are told lambda",
        example="It is named with a probability of at most 0.0565 (a theorem).",
        true="An adversary that sees the release alone names it with at most 0.0565 (a theorem).",
        right=r"sees (y|the release) alone|not told|premise",
    ),
    "a theorem confirmed": Wrong(
        r"(theorem|bound)[^.]{0,60}\b(is|are|was|were) (confirmed|proved|proven) by|confirms the (theorem|bound)",
        "an attack that keeps a bound is no evidence for a theorem",
        example="The bound is confirmed by all attacks.",
        true="No attack exceeds the bound.",
    ),
    "Neyman and Pearson": Wrong(
        r"Neyman",
        "naming the likeliest of n candidates is the largest posterior (MAP), not a test of two hypotheses",
        example="The best choice among the candidates (Neyman and Pearson) is the largest score.",
        true="The largest posterior (MAP) is the best choice.",
        where=r"workflow/vpaudit/(attack|experiments|stages)/",
    ),
    "information of means": Wrong(
        r"information[^.]{0,80}at most[^.]{0,40}(mean error|mean MSE)",
        "errors and noise of different images multiplied as means are 1.7 % lower and bound nothing",
        example="The information is at most the integral of the mean error.",
        true="The information is at most the mean of the images' integrals.",
    ),
}


def found(wrong: Wrong, path: str, text: str) -> list[str]:
    """Where a text says it, with the words around."""
    plain, places = re.sub(r"\s+", " ", text), []
    for match in re.finditer(wrong.pattern, plain, re.IGNORECASE):
        beside = plain[max(0, match.start() - BESIDE) : match.end() + BESIDE]
        if re.search(wrong.where, path) and not re.search(wrong.right, beside, re.IGNORECASE):
            places.append(f"{path}: …{plain[max(0, match.start() - 40) : match.end() + 40]}…")
    return places


@pytest.fixture(scope="module")
def texts(root):
    listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    paths = [
        path for path in listed if path.endswith(READ) and not path.startswith(LEFT_OUT) and (root / path).exists()
    ]
    return {path: (root / path).read_text(encoding="utf-8") for path in paths}


@pytest.mark.parametrize("name", TABLE)
def test_nobody_says_it_again(name, texts):
    assert len(texts) > 200
    places = [p for path, text in texts.items() for p in found(TABLE[name], path, text)]
    assert not places, "\n".join([TABLE[name].why, *places])


@pytest.mark.parametrize("wrong", TABLE.values(), ids=TABLE)
def test_the_table_tells_wrong_from_right(wrong):
    path = "workflow/vpaudit/attack/candidates.py"
    assert found(wrong, path, wrong.example)
    assert not found(wrong, path, wrong.true)
    assert not wrong.where or not found(wrong, "docs/theory.md", wrong.example)
