# The verbs of the project. `make` alone lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help
export SQLX_OFFLINE := true

# Arguments of a command, e.g. make up ARGS="--fresh --http 127.0.0.1:9000"
ARGS ?=

.PHONY: help setup up test check check-kubernetes format sqlx-prepare images bench clean

help: ## List the verbs
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 24

setup: ## Install what the build and the tests need from the system (compiler, PostgreSQL)
	@./scripts/setup

up: setup ## Run the whole system on this machine until Ctrl-C
	@./scripts/playground >/dev/null
	@exec cargo run -p belay -- up $(ARGS)

test: setup ## Run every test; ARGS are those of `cargo test`, e.g. ARGS="-p orders"
	@./scripts/playground >/dev/null
	cargo run --quiet -p test-postgres --bin with-postgres -- ./scripts/test $(ARGS)

test-%: ## test-real: the end-to-end suite on real parts (ARGS=core: without two of them). test-faults: kill, cut, halt and forget, then audit
	./scripts/test-$* $(ARGS)

check: setup ## Formatting, lints, dependencies, committed query cache: what CI asks beside the tests
	./scripts/check

check-kubernetes: setup ## Check kubernetes/ without a cluster: schemas, references, real programs, alerts, chart
	./scripts/check-kubernetes

format: ## Format the code
	cargo fmt --all

sqlx-prepare: setup ## Check every SQL query against the migrations and write .sqlx/
	./scripts/sqlx-prepare

images: ## Build the container images of all services; REGISTRY=… TAG=… pushes them
	REGISTRY=$(REGISTRY) TAG=$(TAG) ./scripts/images

bench: setup ## Measure purchases per second and latency (release profile); ARGS are those of `belay load`, or edge: reads
	./scripts/bench $(ARGS)

scenario-%: setup ## scenario-availability, scenario-scalability: the qualities of docs/quality-scenarios.md, with figures
	./scripts/scenario-$* $(ARGS)

clean: ## Delete the build and the local data
	rm -rf .belay
	cargo clean
