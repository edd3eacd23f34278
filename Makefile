# What a newcomer needs. `make` alone lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
export CARGO_TERM_PROGRESS_WHEN ?= never
# Incremental builds of 130 test programs take four gigabytes, and nobody who runs them once gains by it.
export CARGO_INCREMENTAL ?= 0

BIN     := target/debug/callbox
GUESTS  := target/guests

.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install what is missing (Debian packages, Python packages for the tests)
	@tools/setup all

.PHONY: build
build: ## Build the host, optimised (target/release/callbox)
	@echo "== Building callbox, optimised: about ten minutes from nothing on two cores"
	cargo build --release -p callbox

.PHONY: demo
demo: ## A real call, start to end (ONCE=1 ends with an exit status; else it stays up)
	@tools/setup demo
	@echo "== Building the host: ten to fifteen minutes from nothing on two cores, seconds afterwards"
	@cargo build --workspace
	@echo "== Building the example script"
	@tools/guests appointment
	@python3 tools/demo.py $(if $(ONCE),--once)

.PHONY: test
test: ## Install what is missing and run every test
	@tools/setup test
	@echo "== Building everything with its tests: ten to fifteen minutes from nothing on two cores"
	@cargo build --workspace
	@echo "== Building the guests"
	@tools/guests all
	@echo "== Tests of the guest SDK"
	cargo test --quiet --manifest-path guest-sdk/rust/Cargo.toml --target-dir target/sdk
	@echo "== Tests"
	cargo test --workspace --no-fail-fast

.PHONY: torture
torture: ## A million broken SIP messages at a host with a call up (half a minute after the build)
	cargo test --workspace --test torture -- --include-ignored

.PHONY: crash
crash: ## Kill hosts under load again and again and check the books, for minutes (ROUNDS=200, SEED=…)
	@tools/setup test
	cargo build --workspace
	@tools/guests all
	CRASH_ROUNDS=$(or $(ROUNDS),200) CRASH_SEED=$(or $(SEED),$(shell date +%s)) cargo test --workspace --test crash -- --nocapture --test-threads=1

.PHONY: lint
lint: ## Format, clippy, licences
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@command -v cargo-deny > /dev/null && cargo deny check || echo "cargo-deny is not installed (cargo install cargo-deny): licences and advisories not checked"

.PHONY: bench
bench: ## Measure, about half an hour after the build (BENCH="latency media" for parts)
	@tools/setup test
	@echo "== Building callbox, optimised: about ten minutes from nothing on two cores"
	cargo build --release -p callbox -p callbox-load
	cargo bench -p callbox --bench script --bench books --no-run
	cargo bench -p callbox-sip --bench wire --bench calls --no-run
	cargo bench -p callbox-sim --bench replay --bench scenarios --no-run
	cargo bench -p callbox-media --features g729 --bench calls --no-run
	@CALLBOX=target/release/callbox tools/guests bench appointment probe talk
	@python3 tools/bench.py $(BENCH)

.PHONY: clean
clean: ## Remove what was built and what the demo left
	rm -rf target .run
