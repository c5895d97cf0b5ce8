# make replicate   environment, then the embedded study from data to report
# make test        environment if missing, then every test
# make check       lint, import contracts, generated pages and the fast tests, for the loop while editing
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= python3
# Tests of one file stay together, since they share what is slow to make, and files in the order of pyproject.toml, the
# longest first (by itself xdist begins with those of most tests); each process computes on one thread.
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$(( n < 4 ? n : 4 )))
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"
.PHONY: replicate record domains test test-slurm test-gpu test-s3 test-real smoke figures prior ship-prior restore check lint lock clean-work

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python >= 3.11 is needed, this is " + sys.version.split()[0] + "; try make PYTHON=python3.12")'
	@echo "Installing the pinned environment into $(VENV) (about 6 GB with CUDA libraries; several minutes) ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

replicate: $(STAMP)
	@$(RUN) workflow/run.sh

# The same, and DVC records what came out, in dvc.lock.
record: $(STAMP)
	@$(RUN) VPAUDIT_RECORD=1 workflow/run.sh

# The same attacks on real domains, each a study of its own, then one figure and one table of claims of all of them. Needs
# the archives of their cards (workflow/vpaudit/data/cards.yaml); hours; the same command goes on.
DOMAINS := cifar10 faces xrays portraits photographs
domains: $(STAMP)
	@export $(RUN); for name in $(DOMAINS); do \
	  workflow/run.sh --configfile config/domains.yaml config/domains/$$name.yaml || exit; done; \
	vpaudit domains $(DOMAINS:%=results/%)

smoke: $(STAMP)
	@$(RUN) workflow/run.sh --configfile config/smoke.yaml

test: $(STAMP)
	@$(RUN) python -m pytest $(PARALLEL) $(PYTEST_ARGS)

# The smoke study through profiles/slurm on a real SLURM of this machine: root, and Debian's slurmctld slurmd munge.
test-slurm: $(STAMP)
	@$(RUN) timeout -k 30 3600 python -m pytest tests/slurm $(PYTEST_ARGS)

# The same code on a GPU; skipped where there is none.
test-gpu: $(STAMP)
	@$(RUN) python -m pytest tests/gpu $(PYTEST_ARGS)

# A study pushed to an S3 server of this machine and pulled by a fresh clone; dvc-s3 and moto in .venv-s3.
S3 := .venv-s3
$(S3)/.installed: pyproject.toml
	$(PYTHON) -m venv $(S3)
	$(S3)/bin/pip install --quiet "dvc==$$($(BIN)/python -c 'import dvc; print(dvc.__version__)')" 'dvc-s3>=3.2' 'moto[server]>=5'
	@touch $@
test-s3: $(STAMP) $(S3)/.installed
	@$(RUN) python -m pytest tests/s3 $(PYTEST_ARGS)

# The paper's study on real images of ../shared/data with the public priors' networks in full width (about an hour).
test-real: $(STAMP)
	@$(RUN) VPAUDIT_FULL_WIDTH=1 python -m pytest tests/workflow/test_real_images.py $(PYTEST_ARGS)

# Figures again, from the tables that are there: make figures STYLE=<name or YAML file>
figures: $(STAMP)
	@$(RUN) snakemake --quiet rules $(if $(STYLE),--config figures='{"style": "$(STYLE)"}') -- figures

# Train the prior of the embedded study anew (hours; resumes), then put it where the study reads it. The other
# priors that are shipped: benchmarks/train_priors.py.
STUDY := embedded
SHIP := fashion_mnist_dit
prior: $(STAMP)
	@$(RUN) snakemake -- train_prior fit_gaussian
ship-prior:
	@test -f results/$(STUDY)/prior/card.json || { echo "error: results/$(STUDY)/prior has no prior; train it first (make prior)" >&2; exit 2; }
	rm -rf resources/priors/$(SHIP)
	cp -r results/$(STUDY)/prior resources/priors/$(SHIP)
	@if [ $(STUDY) = embedded ] && [ -f results/embedded/gaussian/card.json ]; then set -x; \
	  rm -rf resources/priors/fashion_mnist_gaussian; cp -r results/embedded/gaussian resources/priors/fashion_mnist_gaussian; fi

# A fresh clone with outputs from `dvc pull`: believe them only if DVC finds every byte as recorded.
restore: $(STAMP)
	@$(RUN) workflow/restore.sh

# Format, lint, import contracts and generated pages; `make check` adds the fast tests, `make lint` Snakemake's linter.
CHECKS := ruff check . && ruff format --check . && snakefmt --check Snakefile rules && lint-imports --no-cache && vpaudit docs --check
check: $(STAMP)
	@export $(RUN); $(CHECKS) && python -m pytest -q -m "not slow" $(PARALLEL) tests/unit $(PYTEST_ARGS)
lint: $(STAMP)
	@export $(RUN); $(CHECKS) && snakemake --lint

# The lock for every platform and Python >= 3.11; pip, not uv, installs it.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --quiet --extra medical --extra peers --extra dev pyproject.toml -o requirements.lock

clean-work:
	rm -rf work
