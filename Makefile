# tethys.channels: what a visitor and a developer type. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?=
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
# Debian keeps dockerd and debootstrap where `su` without a dash does not look.
export PATH := $(BIN):$(PATH):/usr/sbin:/sbin
# Ansible refuses to start in a locale that is named and not there, as over many an ssh connection.
export LC_ALL := C.UTF-8
# If it is set, each process compiles again what it imports and pip has not compiled.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo bundle scenario test-changed test-core test check-all lint sanity unit portal integration docs import versions canary release bench images engine collection clean

help: ## Show this list
	@awk -F ':.*## ' '/^##@ /{printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Try it
demo: $(VENV)/.ready engine ## Watch a real Tethys Portal get its channel layer, on a disposable server (DEMO_KEEP=1 keeps it)
	@scripts/images server:bookworm redis:7.0
	@scripts/demo

##@ Install without Internet access
bundle: $(VENV)/.ready engine ## Pack the collections, the wheels and the Redis image into one tar file (B="--python 3.11 --image redis:8.2")
	@$(BIN)/python scripts/bundle $(B)

##@ During development
test-changed: $(VENV)/.ready engine ## Test what changed since main: quick lint, unit tests, a role's scenario (BASE=COMMIT for another commit)
	@scripts/run-tests --changed $(or $(BASE),$$(git merge-base HEAD main 2>/dev/null || echo HEAD))

scenario: $(VENV)/.ready engine ## Run one scenario (a folder in molecule/): make scenario S=ssh_sudo (by default S=default)
	@scripts/run-tests scenario:$(or $(S),default)

##@ Before you merge
test: $(VENV)/.ready engine ## Run the full test suite
	@scripts/run-tests

test-core: $(VENV)/.ready engine ## Run lint, the unit tests and the core scenarios
	@scripts/run-tests --core

##@ One step of `make test`
lint: $(VENV)/.ready ## Run ruff, mypy, yamllint and ansible-lint, and check the changelog, the vocabulary and the generated pages
	@scripts/run-tests lint

sanity: $(VENV)/.ready ## Run ansible-test sanity
	@scripts/run-tests sanity

unit: $(VENV)/.ready ## Run the unit tests
	@scripts/run-tests unit

portal: $(VENV)/.ready ## Run the tests that use a real Tethys Portal but no server
	@scripts/run-tests portal

integration: $(VENV)/.ready engine ## Build, install and run the collection as a user would
	@scripts/run-tests integration

docs: $(VENV)/.ready ## Build the documentation site in .cache/docs, and fail on any warning
	@scripts/run-tests docs

import: $(VENV)/.ready ## Import the built collection the way Galaxy does
	@scripts/run-tests import

##@ Other versions, and a release
check-all: $(VENV)/.ready engine ## Run the full test suite, Debian 11, every Tethys version, and the playbooks with every ansible-core
	@scripts/run-tests --all
	@$(BIN)/python scripts/check-versions --all --server

versions: $(VENV)/.ready ## Test with every supported ansible-core (L="2.21" for one of them)
	@$(BIN)/python scripts/check-versions $(L)

canary: $(VENV)/.ready ## Test with the newest version of every package, pre-releases included, and print which bounds it affects
	@$(BIN)/python scripts/canary

release: $(VENV)/.ready ## Write the changelog, commit and tag a release: make release V=1.0.0
	@scripts/release $(V)

##@ Tools
bench: $(VENV)/.ready engine ## Measure the layer, the cost of a run and memory (B="--only faults" compares the layer classes under faults)
	@scripts/bench $(B)

images: $(VENV)/.ready engine ## Build the images of the test servers that are missing
	@scripts/images

engine: ## Install and start a Docker engine if none is running
	@scripts/ensure-engine

collection: $(VENV)/.ready ## Build the collection and install it into .cache/collections
	@scripts/install-collection

clean: ## Remove all test servers of this engine, the virtual environment and the caches (images stay)
	@-docker ps -aq --filter label=tethys.channels.test-server 2>/dev/null | xargs -r docker rm -fv >/dev/null 2>&1
	rm -rf $(VENV) .cache

$(VENV)/.ready: requirements-dev.txt scripts/ensure-venv
	@PYTHON=$(PYTHON) scripts/ensure-venv $(VENV)
