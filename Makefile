# Everything a newcomer or a pipeline runs. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup build lint test test-fast test-e2e bench demo manifests cluster-up cluster-down clean-env

# What `make setup` made; read when a recipe runs, not before.
PATHS := .cache/paths
made = $$(sed -n 's/^$(1)=//p' $(PATHS))
# Which snapshots the unit tests looked at.
SNAPSHOTS_SEEN := $(CURDIR)/target/snapshots-seen

help: ## Shows this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: ## Brings a Debian 12 machine with rust, go and python3 to where all of this works; quick when it is
	@tests/env/setup.sh

build: setup ## Builds the daemon and the client
	cargo build --workspace --bins

lint: setup ## Format, clippy, licenses, unused dependencies, of the plugins too, and the purity of host/core
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings
	cargo clippy --quiet --workspace --test all -- -D warnings
	$(call made,CARGO_DENY) --log-level error check licenses bans sources
	$(call made,CARGO_MACHETE)
	@# The plugins have a workspace of their own, and some of them compile for WebAssembly only.
	cd plugins && cargo fmt --all --check
	cd plugins && cargo clippy --quiet --locked --all-targets -- -D warnings
	cd plugins && cargo clippy --quiet --locked --workspace --exclude forge --lib --examples --target wasm32-wasip2 -- -D warnings
	$(call made,CARGO_DENY) --log-level error --manifest-path plugins/Cargo.toml --config deny.toml check licenses bans sources
	tests/env/check-core-is-pure.sh

test: lint test-fast test-e2e ## Everything: lint, unit tests, end-to-end tests

test-fast: setup ## Unit and in-process tests: seconds to a few minutes
	@mkdir -p target && rm -f $(SNAPSHOTS_SEEN)
	IGNITE_TEST_KANIKO=$(call made,KANIKO) IGNITE_TEST_PLUGINS=$(call made,PLUGINS) INSTA_UPDATE=no INSTA_SNAPSHOT_REFERENCES_FILE=$(SNAPSHOTS_SEEN) cargo test --workspace
	@tests/env/check-snapshots.sh $(SNAPSHOTS_SEEN)
	cd plugins && cargo test --quiet --locked
	cd plugins/naming-js && node --test unit/
	cd plugins/freeze-window-py && python3 -m unittest --quiet

test-e2e: setup ## End-to-end tests: the real Kaniko, registry, git server and daemon; as root
	@# With the tests, so that the binaries share their dependencies and nothing is compiled twice.
	cargo build --workspace --bins --tests
	@# A cluster that was up before stays up.
	was_up=$$(tests/env/cluster/is-up.sh && echo yes || true); status=0; \
	  cargo test --workspace --test all || status=$$?; \
	  [ -n "$$was_up" ] || tests/env/cluster/down.sh; exit $$status

bench: setup ## Benchmarks: a line for each ratio, its spread and its target; as root, best with nothing else running
	@# The daemon first: a benchmark runs it. All benchmarks run, then it fails if one missed its target.
	cargo build --release --workspace --bins --bench '*'
	IGNITE_TEST_PLUGINS=$(call made,PLUGINS) cargo bench --quiet --no-fail-fast --workspace --bench '*' -- --quiet

demo: ## Builds, pushes, pulls back and runs one image; needs no configuration
	@tests/env/setup.sh demo
	@deploy/demo.sh

manifests: setup ## Renders deploy/helm/ignite to deploy/manifests
	deploy/manifests/render.sh >deploy/manifests/ignite.yaml.new
	mv deploy/manifests/ignite.yaml.new deploy/manifests/ignite.yaml

cluster-up: setup ## Brings up a one-node Kubernetes for tests and prints how to reach it; as root
	@tests/env/cluster/up.sh

cluster-down: ## Takes it down again
	@tests/env/cluster/down.sh

clean-env: ## Removes what `make setup` and `make demo` made for this work tree; the cache stays
	rm -rf .cache .demo
