# Targets for people who work on the collection. `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-down bench lint format unit core cross sanity bundle conform molecule soak sample test lock build clean distclean

export PATH := $(CURDIR)/.venv/bin:$(PATH):/usr/local/go/bin
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/collections

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 12

setup: ## make .venv, the Python environment
	@scripts/setup

demo: setup ## bring a throwaway VM up and turn it into a platform; again: nothing changes
	lab/lab bundle
	hosts=$$(lab/lab up 1 | tail -n 1) && ansible-playbook site.yml -i "$$hosts"

demo-down: ## remove the throwaway VM of `make demo`
	@lab/lab down

lint: setup ## ruff, yamllint, ansible-lint, changelog fragments, documentation
	ruff check
	ruff format --check
	yamllint --strict .
	ansible-lint --strict
	antsibull-changelog lint
	cd collections/ansible_collections/cloudcartops/platform && antsibull-docs lint-collection-docs --plugin-docs .

format: setup ## let ruff format the Python files
	ruff check --fix-only
	ruff format

unit: setup ## unit tests, Python and Go
	cd lab/src/k3s && go test ./...
	cd lab/src/injector && go test ./...
	cd lab/src/apps && go test ./...
	cd lab/src/upstream && CGO_ENABLED=0 go test -trimpath -gcflags=all=-dwarf=false ./charts # as the bundle is built: the same cache
	pytest -n auto

core: setup ## unit tests of what Ansible loads, with the oldest ansible-core that is supported
	PYTHON=.venv/bin/python scripts/core-tests 2.18

cross: ## compile the lab's small Go programs for arm64 (minutes the first time)
	for part in pause k3s injector apps upstream/local-path; do (cd lab/src/$$part && CGO_ENABLED=0 GOARCH=arm64 go build -o /dev/null ./...) || exit; done

sanity: setup ## ansible-test sanity on what the archive holds
	@scripts/sanity

bundle: setup ## build the lab's bundle of artifacts (cached outside the checkout)
	lab/lab bundle

conform: setup ## ask the K3s of the machines of INVENTORY, a server and an agent, for what is counted on; they end without it
	INVENTORY="$(INVENTORY)" pytest tests/conform

molecule: bundle ## the platform of dev on one VM, and that of prod on two
	molecule test --scenario-name site
	molecule test --scenario-name prod

soak: bundle ## K3s alone on three VMs, all live tests, newer versions of ansible-core: too long for `make test`
	scripts/soak

sample: bundle ## the part of the live tests that `make test` runs
	pytest tests/live --sample 1 --durations 15

bench: bundle ## times of the whole platform, against a plain script, of waits, and of Vault's configuration; takes half an hour
	bench/site.py --write
	bench/rollout.py --write
	bench/vault_configuration.py --write

test: setup ## everything, with times
	@scripts/test

lock: setup ## read published checksums into roles/catalog/files/lock.yml (needs internet access)
	scripts/lock.py

build: setup ## the collection's archive
	ansible-galaxy collection build --force

clean: ## remove VMs and what was made in this checkout
	@if command -v podman >/dev/null; then for name in cc-lab molecule cc-live cc-live-own cc-live-pair; do lab/lab down --name $$name; done; fi
	rm -rf .venv .ansible .pytest_cache .ruff_cache tests/output changelogs/.plugin-cache.yaml *.tar.gz

distclean: clean ## also remove the caches outside the checkout
	rm -rf "$${XDG_CACHE_HOME:-$$HOME/.cache}/cloudcartops" "$${CLOUDCARTOPS_LAB_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/cloudcartops-lab}"
