"""The command line: numbers as promised, errors for people, exit codes."""

import json
import subprocess
import sys

import pytest
from scipy.stats import norm

from vpaudit.commands.main import COMMANDS, main


def answer(capsys, *arguments) -> dict:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_rero_closed_form(capsys):
    got = answer(capsys, "bound", "rero", "--mu", "5", "--kappa", "2e-4")
    assert got == {"gamma": pytest.approx(norm.cdf(5 + norm.ppf(2e-4)))}
    back = answer(capsys, "bound", "rero", "--gamma", str(got["gamma"]), "--kappa", "2e-4")
    assert back == {"mu": pytest.approx(5)}


def test_rero_of_sampled_steps(capsys):
    got = answer(
        capsys, "bound", "rero", "--noise-multiplier", "1", "--sample-rate", "0.1", "--steps", "100", "--kappa", "0.1"
    )
    assert got["low"] <= got["gamma"] <= got["high"]
    assert got["gamma"] == pytest.approx(0.469, abs=0.001)  # Edgeworth and Monte Carlo, brief section 2


def test_uninformed(capsys):
    """|x| = 28, mu = 10: s = 2.8, MSE 7.84; PSNR about 10 log10(4 / 7.84); NCC sqrt(1 / (1 + N / mu^2))."""
    got = answer(capsys, "bound", "uninformed", "--mu", "10", "--norm", "28", "--pixels", "3072", "--data-range", "2")
    assert got["mse"] == pytest.approx(7.84)
    assert got["psnr"] == pytest.approx(-2.92, abs=0.01)
    assert got["ncc"] == pytest.approx((1 / (1 + 30.72)) ** 0.5)


def test_account_both_ways(capsys):
    got = answer(
        capsys, "account", "--noise-multiplier", "1", "--sample-rate", "0.01", "--steps", "1000", "--delta", "1e-5"
    )
    assert got["epsilon"] == pytest.approx(1.828, abs=0.002)
    back = answer(
        capsys,
        "account",
        "--epsilon",
        str(got["epsilon"]),
        "--sample-rate",
        "0.01",
        "--steps",
        "1000",
        "--delta",
        "1e-5",
    )
    assert back["noise_multiplier"] == pytest.approx(1, rel=1e-3)
    one = answer(capsys, "account", "--epsilon", "8", "--delta", "1e-5")
    assert one["mu"] * one["noise_multiplier"] == pytest.approx(1)
    assert answer(capsys, "account", "--mu", str(one["mu"]))["epsilon"] == pytest.approx(8)


def test_account_says_which_mu_holds_for_the_whole_run(capsys):
    """Of 1,000 steps at 1 % the mu through one point is too small; of the full batch there is one mu."""
    sampled = ("account", "--noise-multiplier", "1", "--sample-rate", "0.01", "--steps", "1000")
    got = answer(capsys, *sampled)
    assert got["mu"] < 0.98 * got["mu_profile"] < 1.2 * got["mu"]
    assert 0 < got["fit_excess"] < 0.1
    assert "guarantee for the full batch alone" in got["meaning"]
    assert main(list(sampled)) == 0
    assert "guarantee for the full batch alone" in capsys.readouterr().out
    full = answer(capsys, "account", "--noise-multiplier", "10", "--steps", "400")
    assert (full["mu"], full["mu_profile"], full["fit_excess"]) == (pytest.approx(2), pytest.approx(2), 0)
    nothing = answer(capsys, "account", "--noise-multiplier", "10000", "--sample-rate", "1e-6")
    assert (nothing["epsilon"], nothing["mu"], nothing["mu_profile"]) == (0, None, 0)


def test_advantage_beside_rero(capsys):
    steps = ("--noise-multiplier", "1", "--sample-rate", "0.05", "--steps", "100")
    got = answer(capsys, "bound", "advantage", *steps, "--baseline", "0.02")
    rero = answer(capsys, "bound", "rero", *steps, "--kappa", "0.02")
    assert got["success"] == pytest.approx(rero["high"])
    assert got["rero"] == pytest.approx(rero["gamma"])
    assert got["at_baseline"] == pytest.approx(got["success"] - 0.02)
    assert got["at_baseline"] < got["knowing_anything"]
    replaced = answer(capsys, "bound", "advantage", *steps, "--baseline", "0.02", "--replace", "--same", "0.02")
    assert replaced["rero"] == got["rero"]
    assert replaced["success"] > got["success"]
    full = answer(capsys, "bound", "advantage", "--mu", "2", "--baseline", "0.01")
    assert full["success"] == pytest.approx(norm.cdf(2 + norm.ppf(0.01)))


def test_a_table_for_people(capsys):
    assert main(["account", "--mu", "5"]) == 0
    out = capsys.readouterr().out
    assert "epsilon           33.1" in out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("bound", "rero", "--mu", "-1", "--kappa", "0.1"), "mu"),
        (("bound", "rero", "--mu", "1", "--steps", "3", "--kappa", "0.1"), "all steps together"),
        (("bound", "rero", "--mu", "1", "--kappa", "2"), "kappa"),
        (("bound", "rero", "--gamma", "0.5", "--steps", "3", "--kappa", "0.1"), "all steps together"),
        (("bound", "advantage", "--mu", "0", "--baseline", "0.1"), "mu=0"),
        (("bound", "advantage", "--mu", "1", "--baseline", "1"), "baseline=1"),
        (("bound", "advantage", "--mu", "1", "--steps", "3", "--baseline", "0.1"), "all steps together"),
        (("bound", "advantage", "--mu", "1", "--baseline", "0.1", "--same", "0.1"), "without replace"),
        (("account", "--epsilon", "8", "--delta", "2"), "delta"),
        (("show-config", "no/such.yaml"), "no/such.yaml"),
        pytest.param(("fetch", "cifar10", "--out", "/tmp/x"), "cifar10", marks=pytest.mark.slow),  # asks often
    ],
)
def test_errors_are_for_people(capsys, arguments, expected):
    assert main(list(arguments)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert expected in error
    assert "Traceback" not in error


def test_a_log_says_how_a_command_ended(tmp_path):
    log = tmp_path / "logs" / "a.log"
    main(["--log", str(log), "account", "--mu", "5"])
    main(["--log", str(log), "bound", "rero", "--mu", "-1", "--kappa", "0.1"])
    first, second = log.read_text().split("s): ")[1:]
    assert first.startswith("done")
    assert second.startswith("error: ")


def test_help_names_ranges_and_defaults(capsys):
    with pytest.raises(SystemExit):
        main(["account", "--help"])
    out = capsys.readouterr().out
    assert "(default: 1e-05)" in out
    assert "(0, 1]" in out


def test_help_shows_what_users_call_in_groups(capsys):
    """Every command but the rules' own has its line, below the title of its group."""
    with pytest.raises(SystemExit) as done:
        main(["--help"])
    assert done.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    for title, group in COMMANDS.items():
        start = lines.index(f"{title}:")
        assert [line.split()[0] for line in lines[start + 1 : start + 1 + len(group)]] == [name for name, _, _ in group]
    assert not any("stage" in line.split() for line in lines)
    assert all(len(line) <= 100 for line in lines)


@pytest.mark.parametrize("name", [name for group in COMMANDS.values() for name, _, _ in group] + ["stage"])
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as done:
        main([name, "--help"])
    assert done.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: vpaudit {name} ")


def test_help_imports_no_heavy_library():
    code = "import sys\nfrom vpaudit.commands.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "sys.exit(' '.join({'torch', 'numpy', 'pandas', 'matplotlib', 'pydantic'} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_completion_knows_the_options_of_every_command(capsys):
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    for option in ("--sample-rate", "--kappa", "--tolerance", "--refine"):
        assert option in script
