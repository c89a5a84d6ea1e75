# One command per chore. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export TUNEGATE_CACHE ?= $(HOME)/.cache/tunegate
# Nothing outside this folder, so that `make clean` finds everything.
export UV_CACHE_DIR ?= $(TUNEGATE_CACHE)/uv-cache
export KUBECACHEDIR ?= $(TUNEGATE_CACHE)/kubectl-cache
export TEST_STATE := /var/lib/tunegate-local-test
export PYTHONPATH := operator:trainer-image:local-cluster:demo
RUN := .venv/bin/python
CLUSTER_TOOL := python3 -m tunegate_local

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.PHONY: setup
setup: ## Install the Python environment from the lock file
	@./setup.sh

.PHONY: demo
demo: setup ## The whole way, from licence texts to a served, approved adapter; QUICK=1: half the time, less to see
	@$(RUN) -m tunegate_demo $(if $(QUICK),--quick)

.PHONY: test
test: setup ## Everything: checks, tests without and with the model, the demo under faults, tests on the cluster
	@./tests/run.sh

.PHONY: e2e
e2e: setup ## The demo while the operator is killed in every stage and the trainer is evicted and killed
	@$(CLUSTER_TOOL) start
	@TUNEGATE_REQUIRE_CLUSTER=1 $(RUN) -m pytest -q -s -m e2e tests/e2e tests/docs

.PHONY: chaos
chaos: setup ## The demo while the admin of its namespace deletes, replaces and floods at random; SEED=7 repeats a run
	@$(CLUSTER_TOOL) start
	@TUNEGATE_REQUIRE_CLUSTER=1 SEED="$(or $(SEED),1)" $(RUN) -m pytest -q -s -m chaos tests/e2e

.PHONY: model-test
model-test: setup ## Tests on torch, vLLM and the small model, inside the trainer image
	@$(CLUSTER_TOOL) images --only trainer
	@./tests/in_trainer_image.sh

.PHONY: fuzz
fuzz: setup ## Up to 50,000 mutated requests against gateway and real engine, in the trainer image; about 30 minutes, at most 100
	@$(CLUSTER_TOOL) images --only trainer
	@TUNEGATE_FUZZ_REQUESTS=$${TUNEGATE_FUZZ_REQUESTS:-50000} TUNEGATE_FUZZ_SECONDS=$${TUNEGATE_FUZZ_SECONDS:-6000} \
	  ./tests/in_trainer_image.sh -s -m model -k mutated_requests tests/gateway/test_with_real_engine.py

.PHONY: fuzz-files
fuzz-files: setup ## 10,000 mutated files of every kind that people give; EACH=420 SEED=16, KEEP=folder keeps what ends in a fault
	@$(RUN) -m tests.mutated_files.run --each "$(or $(EACH),420)" --seed "$(or $(SEED),16)" --keep "$(KEEP)"

.PHONY: cluster-test
cluster-test: setup ## Tests on the local cluster that runs, after `make demo` has installed the chart; CLUSTER=current: on your cluster
	@TUNEGATE_REQUIRE_CLUSTER=1 $(RUN) -m pytest -q -m "cluster and not e2e and not chaos"

.PHONY: unit
unit: setup ## Tests that need neither a cluster nor a model
	@$(RUN) -m pytest -q -n "$$(nproc)" --dist loadfile -m "not cluster and not model and not e2e"

.PHONY: changed
changed: setup ## The tests of `make unit` that this branch's change can have broken; BASE=main
	@tests=$$($(RUN) -m chores.affected --base "$(or $(BASE),main)") && if [ -n "$$tests" ]; then \
	  $(RUN) -m pytest -q -n "$$(nproc)" --dist loadfile -m "not cluster and not model and not e2e" $$tests || [ $$? = 5 ]; fi

.PHONY: lint
lint: setup ## ruff, mypy --strict, layers, generated files, promises of the pages
	@./tests/lint.sh

.PHONY: mutants
mutants: setup ## Mutation testing of the count of approvals: which small changes of it no test would find; minutes
	@./tests/mutants.sh $(addprefix tunegate/release/,counting.py identity.py requesters.py signature.py waiver.py) \
	  $(addprefix tunegate/reconcile/,approvals.py modelrelease/questions.py modelrelease/break_glass.py) \
	  $(wildcard tests/governance/test_counting*.py) $(patsubst %,tests/governance/test_%.py,signatures break_glass overrides_counted unverified_requesters waivers release_planner decisions_told)

.PHONY: generate
generate: setup ## Write crds/ and charts/tunegate-crds from the API models, docs/threat-model-tests.md from the tests, the chart's README, docs/log-events.md
	@$(RUN) -m tunegate.api.crd --write crds --chart charts/tunegate-crds
	@$(RUN) -m chores.threat_model_tests
	@$(RUN) -m chores.chart_readme
	@$(RUN) -m chores.log_events

.PHONY: timings
timings: setup ## Write the recorded times of `make demo` and `make test` into docs/timings.md
	@$(RUN) -m chores.timings_page

.PHONY: cluster-up
cluster-up: setup ## Start the local cluster
	@$(CLUSTER_TOOL) start

.PHONY: cluster-status
cluster-status: ## Show what runs and how to reach it
	@$(CLUSTER_TOOL) status

.PHONY: cluster-down
cluster-down: ## Stop the local cluster, keep its data
	@$(CLUSTER_TOOL) stop

.PHONY: images
images: setup ## Build the container images into the local registry
	@$(CLUSTER_TOOL) images

.PHONY: cli
cli: setup ## Build the command line's wheel, and its single file for each system, into dist/
	@$(RUN) -m chores.cli_file

.PHONY: clean
clean: ## Remove the local cluster, its data, the caches and the Python environment; then prove it
	@# The one that runs goes first: rules and interfaces are the machine's, and a live kube-proxy would write them anew.
	@$(CLUSTER_TOOL) status >/dev/null 2>&1 || TUNEGATE_STATE=$(TEST_STATE) $(CLUSTER_TOOL) wipe
	@$(CLUSTER_TOOL) wipe
	@TUNEGATE_STATE=$(TEST_STATE) $(CLUSTER_TOOL) wipe
	@$(CLUSTER_TOOL) wipe --cache
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache demo-report.json dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@TUNEGATE_STATE=$(TEST_STATE) $(CLUSTER_TOOL) check-clean --wiped
	@$(CLUSTER_TOOL) check-clean --wiped --cache
