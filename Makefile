# The two commands: `make demo` runs the whole loop on real data, `make test` passes every test.
# Neither installs system packages; what they need beside Rust and Python 3 they fetch as packages into
# target/.

CARGO  ?= cargo
PYTHON ?= python3
DEMO   := target/demo

.DEFAULT_GOAL := help
.PHONY: help demo test test-services build format bench clean-demo

help: ## Show what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

demo: build ## Build the release binary and run the whole loop on real flights
	@examples/flights/demo.sh target/release/rondo $(DEMO)

build: ## Build the release binary
	$(CARGO) build --release --locked

test: ## Check format and lints, run every test that needs no service
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@if $(CARGO) nextest --version >/dev/null 2>&1; \
	then $(CARGO) nextest run --workspace --locked; \
	else $(CARGO) test --workspace --locked; fi
	$(CARGO) build --locked
	e2e/run.sh target/debug/rondo

test-services: ## Tests that start services of their own (a browser), or say why they skip
	$(CARGO) build --locked
	e2e/services.sh target/debug/rondo

format: ## Format everything
	$(CARGO) fmt --all

bench: build ## Compare with the peers (see bench/)
	@ls bench

clean-demo: ## Throw the demo away
	rm -rf $(DEMO)
