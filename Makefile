# Each target works from a fresh clone. `make setup` is all the rest needs, and does it by itself.

PYTHON := .venv/bin/python
SETUP := deploy/local/setup.sh
# How many processes test side by side; 0 = one, without pytest-xdist. More than there are cores on a small machine: most of
# the time a test of real servers waits for them.
PROCESSES ?= 6

MINUTES ?= 20

.DEFAULT_GOAL := help
.PHONY: help setup setup-python setup-services demo stack-demo test faults soak check static bench images clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: setup-python setup-services ## all that the other targets need; a second run takes no time

setup-python: ## Python packages, into .venv
	@$(SETUP) python

setup-services: ## Java, Maven, redis-server and mosquitto, where the system's package manager may be used
	@$(SETUP) services

demo: setup-python ## synthetic video in, anomalies out; needs neither Kafka nor Redis
	@.venv/bin/engram demo

stack-demo: setup ## the same over a real Kafka and a real Redis, started for it
	@.venv/bin/engram stack demo

test: setup ## all tests
	@$(PYTHON) -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder

faults: setup ## fleets under every fault: brokers, stores, networks and processes that fail half way; half an hour
	@$(PYTHON) -m pytest -m faults

soak: setup ## a small fleet for MINUTES (20), and what of it grows
	@$(PYTHON) -m benchmarks.soak $(MINUTES)

check: static test ## what must pass before a commit

static: setup-python ## format, lint, types, import directions
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

bench: setup ## every figure of the README again
	@$(PYTHON) -m benchmarks

images: ## all images but the one for GPUs, by docker, podman or buildah; see deploy/docker/build.sh
	@deploy/docker/build.sh

clean: ## caches and build outputs; .venv and .engram stay
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist out
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
