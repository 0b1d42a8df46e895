# Martlet's make: `make` prints what there is. Recipes are one line each; the work is in dev/.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MARTLET := .build/release/martlet
export MARTLET

.PHONY: help libraries venv build cluster stop kill pause resume start status logs clean bench bench-ingest bench-latency bench-read bench-replicated bench-light bench-micro bench-failover bench-scale soak-failover soak-steady soak-sim soak-power soak-mutants soak-fuzz soak-explore test check sim fmt golden tsan asan

help: ## this list
	@echo "Martlet. Start here: make cluster"
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 20

libraries:
	@dev/libraries

venv:
	@dev/venv

build: libraries ## build martlet in release
	swift build -c release --product martlet

cluster: build ## build and start three nodes here (cluster.yaml); safe to run twice
	@dev/cluster up

stop: ## stop all nodes cleanly
	@dev/cluster stop

start: ## NODE=2: start one node
	@dev/cluster start $(NODE)

kill: ## NODE=2: kill -9 one node
	@dev/cluster kill $(NODE)

pause: ## NODE=2: freeze one node (SIGSTOP)
	@dev/cluster pause $(NODE)

resume: ## NODE=2: let it go on (SIGCONT)
	@dev/cluster resume $(NODE)

status: ## processes, nodes, controller, health
	@dev/cluster status

logs: ## NODE=2: the end of its log
	@dev/cluster logs $(NODE)

clean: ## stop the nodes, delete their data and the build
	@dev/cluster stop
	rm -rf run .build

test: ## everything: one release build, unit tests, simulator, integration tests
	@dev/libraries tests
	@dev/test

check: libraries ## the inner loop, under 3 minutes: format, tidy and unit tests; writes nothing in the tree
	swift format lint --strict --parallel --recursive Sources Tests Package.swift
	swift build --build-tests
	swift test --skip-build

sim: ## SEED=7: run one seed of the simulator, with its trace
	swift run -c release martlet-sim run --seeds $(or $(SEED),1)..$(or $(SEED),1) --trace

soak-sim: ## 10,000 seeds of the simulator, at most 40 minutes; goes on where it stopped (SEEDS=1..20000 MINUTES=10)
	swift build -c release --product martlet-sim
	SEEDS=$(or $(SEEDS),1..10000) MINUTES=$(or $(MINUTES),40) dev/soak-sim

soak-mutants: ## plant every known bug until a checker sees it; resumable, at most 40 minutes
	swift build -c release --product martlet-sim
	dev/mutants

soak-fuzz: libraries ## SECONDS_EACH=100: all fuzzers live, 40 minutes at most, resumable (docs/reports/fuzz.json)
	dev/fuzz build
	dev/fuzz run --seconds $(or $(SECONDS_EACH),100)

soak-explore: ## every interleaving of the cores within the full scope's bounds, one core of the machine for each, in about ten minutes
	swift build -c release --product martlet-sim
	dev/soak-explore

fmt: ## format the sources and wrap long comments
	dev/wrap-comments Sources Tests
	swift format --in-place --parallel --recursive Sources Tests Package.swift

soak-power: build venv ## 200 power cuts of real nodes under load, in about 20 minutes; resumable, writes docs/reports/power.json
	.venv/bin/python IntegrationTests/soak_power.py $(ARGS)

tsan: libraries ## unit and integration tests under ThreadSanitizer, in a build of its own (SUITES=unit or integration)
	dev/sanitize thread $(or $(SUITES),all)

asan: libraries ## the same under AddressSanitizer
	dev/sanitize address $(or $(SUITES),all)

golden: ## rewrite golden files from what the code does now; read the diff
	UPDATE_GOLDEN=1 swift test

# Benchmarks (docs/PERFORMANCE.md). Each prints ratios against a yardstick that ran beside it.
bench: build venv ## the whole lab in short, about 12 minutes (ARGS="--only ingest,latency"); writes docs/reports/bench.json
	@.venv/bin/python Benchmarks/lab.py $(ARGS)

bench-ingest: build ## produced batches and small requests into one node, beside a loop in C
	swift build -c release --product ingest-speed
	.build/release/ingest-speed $(ARGS)

bench-latency: build ## produce to ack and to consume on three nodes, beside fdatasync and a TCP round trip
	swift build -c release --product latency-speed
	.build/release/latency-speed $(ARGS)

bench-read: build ## what the tail, closed segments and cold ones cost to read, beside sendfile
	swift build -c release --product read-speed
	.build/release/read-speed $(ARGS)

bench-replicated: build venv ## librdkafka into three nodes, acks=all, beside its mock cluster, one node and a loop in C
	swift build -c release --product ingest-speed
	.venv/bin/python Benchmarks/Replicated/replicated_speed.py $(ARGS)

bench-light: build ## full batches from a light driver into three nodes, acks=all, 1 to 1,000 partitions at once
	swift build -c release --product ingest-speed
	.build/release/ingest-speed replicated $(ARGS)

bench-micro: libraries ## nanoseconds of the inner operations, by ordo-one/benchmark (ARGS="--filter Raft.*")
	swift package --package-path Benchmarks/MicroTime benchmark $(ARGS)

bench-failover: build venv ## gaps between acknowledged records when a node dies, freezes or is cut off; start; idle memory
	.venv/bin/python Benchmarks/Failover/failover_speed.py $(ARGS)

bench-scale: build venv ## what partitions and connections cost (ARGS="--partitions 10000")
	.venv/bin/python Benchmarks/Scale/scale_speed.py $(ARGS)

soak-steady: build venv ## false failovers in 30 minutes at 80 % of full load; writes docs/reports/steady.json
	swift build -c release --product ingest-speed
	.venv/bin/python Benchmarks/Failover/failover_speed.py --steady 30 --report docs/reports/steady.json $(ARGS)

soak-failover: build venv ## a hundred rounds of each fault in about 40 minutes; resumable, writes docs/reports/failover.json
	.venv/bin/python Benchmarks/Failover/failover_speed.py --rounds 100 --starts 30 --report docs/reports/failover.json $(ARGS)
