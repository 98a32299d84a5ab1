# Blockferry: every job of the project by name. `make` or `make help` lists them.

NODE ?= node
NPM ?= npm
DATA ?= ./.blockferry
MEMBERS ?= 3
VOLUME ?= disk=1G
# Tests are compiled as the product is, so they need no loader of TypeScript: TAP_TYPE_STRIP_ONLY keeps tap's out from Node 22
# on. With Node 20 each process has it, for a third of a second; without its plugin tap would build itself anew first, which
# takes longer than a run would save. The time is generous, since a busy machine must not fail a test.
TAP = ./node_modules/.bin/tap run --disable-coverage --reporter=terse --timeout=600 --test-env=TAP_TYPE_STRIP_ONLY=1
compiled = $(patsubst %.ts,dist/%.js,$(wildcard $(1)))
# Tests wait much of their time: more files at once than there are processors.
UNIT_JOBS ?= 7
INTEGRATION_JOBS ?= 3
# The longest begin first, so that none of them is alone at the end.
LONG = $(patsubst %,test/integration/%.test.ts,conformance proofs move-live crash-recovery group-life balance-live copy-live unit-state-live)
# make bench: ROUNDS=, SECONDS= of one measurement, SIZE= of the images, ONLY='mix-qd32 move', OUT=
ROUNDS ?= 5
SECONDS ?= 3
SIZE ?= 1G
ONLY ?=
OUT ?= ./bench-out
# make sim: the first SEED=, how many RUNS=, JOBS= processes (the same comes of it)
SEED ?= 1
RUNS ?= 1000
BENCH = $(NODE) dist/bin/bench.js --rounds $(ROUNDS) --seconds $(SECONDS) --size $(SIZE) --only '$(ONLY)' --out $(OUT)
# make crash: POINTS='commit home.done' (parts of a case's name), CASES= so many of them by chance, SEED=, JOBS= at a time
POINTS ?=
CASES ?= 0
JOBS ?= 2
# make conformance: PLACES=home,spread,moving KINDS='fixed 512,removable' TESTS='Read10 Unmap' (parts of names), JOBS=
PLACES ?=
KINDS ?=
TESTS ?=
# make fuzz: SEED=, PDUS= that are spoilt (about as many valid ones go with them), JOBS= connections at a time, WORK=, KEEP=
PDUS ?= 10000000
KEEP ?= .
REPLAY ?=
# make handover: HANDOVERS= with each initiator, WORK= a folder for the groups' data (a run that was killed leaves it)
HANDOVERS ?= 200
# make balance: how long a balanced group is watched
QUIET_SECONDS ?= 120
WORK ?= ./.proofs
# libisal2 is no tool: Blockferry computes digests with it where it is.
DEBIAN_PACKAGES = libiscsi-bin qemu-utils qemu-block-extra qemu-system-x86 ipxe-qemu sg3-utils e2fsprogs libisal2
# What Blockferry is measured beside; libiscsi-bin brings iscsi-perf, fio loads QEMU's mirror, perf counts system calls.
BENCH_PACKAGES = libiscsi-bin tgt qemu-utils qemu-block-extra qemu-system-common fio linux-perf libisal2
SOURCES := $(shell find lib bin -name '*.ts' -o -name '*.cts' 2>/dev/null)
TEST_SOURCES := $(shell find test -name '*.ts' 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help build run demo test early unit sim sim-test mutants integration check lint format layering bench bench-scale handover crash conformance fuzz balance tools bench-tools clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  DATA=$(DATA) MEMBERS=$(MEMBERS) VOLUME=$(VOLUME) are what 'make run' starts with"

# npm writes .package-lock.json at the end of an installation: older than the lock means not what the lock says.
node_modules/.package-lock.json: package-lock.json package.json
	$(NPM) ci --no-audit --no-fund
	@touch $@

dist/.built: node_modules/.package-lock.json tsconfig.json tsconfig.build.json $(SOURCES)
	./node_modules/.bin/tsc -p tsconfig.build.json
	@touch $@

# With everything compiled, dist/.built has nothing left to do.
dist/.tests-built: node_modules/.package-lock.json tsconfig.json tsconfig.build.json $(SOURCES) $(TEST_SOURCES)
	./node_modules/.bin/tsc
	@touch dist/.built $@

build: dist/.built ## install packages when the lock is newer, compile to dist/

run: build ## a group of three members with one volume, until Ctrl-C
	@$(NODE) dist/bin/blockferry.cjs up --members $(MEMBERS) --data $(DATA) --volume $(VOLUME)

demo: build ## a loaded volume moves m1, m2, m3, m1: the ledger and the longest stall
	@$(NODE) dist/bin/demo.js

test: early unit integration ## everything: check, unit, simulation, integration

# What measures no time shares the processors.
early: dist/.tests-built
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target check sim-test

unit: dist/.tests-built ## unit tests, a sixth of them in each of six processes (under a minute)
	$(TAP) --jobs=$(UNIT_JOBS) $(call compiled,test/unit/share-*.ts test/unit/*.alone.test.ts)

sim: build ## groups simulated from seeds (SEED=, RUNS=, JOBS=); what goes wrong is shrunk into fixtures/sim
	@$(NODE) dist/bin/sim.js --seed $(SEED) --runs $(RUNS) --jobs $(JOBS) --keep fixtures/sim

sim-test: dist/.tests-built ## the simulation's part of make test: what once went wrong, 200 known seeds, 50 new ones
	@$(NODE) dist/bin/sim.js fixtures/sim
	@$(NODE) dist/bin/sim.js --seed 1 --runs 200
	@$(NODE) dist/bin/sim.js --fresh --runs 50 --jobs 2

mutants: RUNS = 3000
mutants: build ## bugs planted in the engine, which the simulation must find (SEED=, RUNS= for each, ONLY='pin fua', JOBS=)
	@$(NODE) dist/bin/mutants.js --plans fixtures/sim --seed $(SEED) --runs $(RUNS) --only '$(ONLY)' --jobs $(JOBS)

integration: dist/.tests-built ## real initiators against real processes (needs 'make tools' for all of it)
	$(TAP) --jobs=$(INTEGRATION_JOBS) $(call compiled,$(LONG)) $(filter-out $(call compiled,$(LONG)),$(call compiled,test/integration/*.test.ts))

check: lint format layering ## types (by compiling everything), lint, layering, format

lint: dist/.tests-built
	./node_modules/.bin/eslint --cache --cache-location node_modules/.cache/eslint/ lib bin test

format: node_modules/.package-lock.json
	./node_modules/.bin/prettier --check --log-level=warn lib bin test '*.js' '*.json'

layering: dist/.tests-built
	$(TAP) $(call compiled,test/unit/house-layering.check.test.ts)

bench: build ## side by side with tgtd, QEMU's mirror and dd: a table, JSON, a picture
	@$(BENCH)

bench-scale: build ## what grows with volumes, extents, sessions and members
	@$(BENCH) scale

handover: dist/.tests-built ## HANDOVERS=200 of a loaded volume: how long anybody waits; and initiators that do it wrong
	@$(NODE) dist/bin/proof.js handover --handovers $(HANDOVERS) --folder $(WORK)
	$(TAP) $(call compiled,test/integration/wrong-initiators.test.ts)

crash: build ## members killed and stopped at every point of every phase, under load: nothing is lost
	@$(NODE) dist/bin/proof.js crash --points '$(POINTS)' --cases $(CASES) --seed $(SEED) --jobs $(JOBS) --folder $(WORK)

conformance: build tools ## libiscsi's own test suite over every kind of unit, at home, spread over members and on the move
	@$(NODE) dist/bin/proof.js conformance --places '$(PLACES)' --kinds '$(KINDS)' --tests '$(TESTS)' --jobs $(JOBS) --folder $(WORK)

fuzz: JOBS = 8
fuzz: build ## PDUS=10000000 spoilt PDUs and logins against real targets, beside a witness (SEED=, JOBS=, REPLAY=a file it kept)
	@$(NODE) dist/bin/proof.js fuzz --seed $(SEED) --pdus $(PDUS) --jobs $(JOBS) --folder $(WORK) --keep $(KEEP) $(if $(REPLAY),--replay $(REPLAY))

balance: build ## a group that balances itself under load: what it gains, and that it then leaves things alone (SCENES=, QUIET_SECONDS=)
	@$(NODE) dist/bin/proof.js balance --quiet-seconds $(QUIET_SECONDS) $(if $(SCENES),--scenes '$(SCENES)') --folder $(WORK)

tools: PACKAGES = $(DEBIAN_PACKAGES)
tools: WITHOUT = the suites of test/integration that use them (libiscsi, QEMU, iPXE, sg3_utils, e2fsprogs) are skipped, and digests take longer
tools: ## the Debian packages that the integration tests use
	@$(INSTALL_PACKAGES)

bench-tools: PACKAGES = $(BENCH_PACKAGES)
bench-tools: WITHOUT = the cases of make bench that need tgtd, iscsi-perf, qemu-img, qemu-storage-daemon, fio or perf are skipped
bench-tools: ## the Debian packages that the benchmarks compare with
	@$(INSTALL_PACKAGES)

# A package that this system calls otherwise, as Ubuntu does linux-perf, keeps none of the others out.
define INSTALL_PACKAGES
missing=""; for p in $(PACKAGES); do \
  dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
if [ -z "$$missing" ]; then echo "$@: all there ($(PACKAGES))"; exit 0; fi; \
if ! command -v apt-get >/dev/null; then as=none; \
elif [ "$$(id -u)" = 0 ]; then as=""; \
elif sudo -n true 2>/dev/null; then as=sudo; \
else as=none; fi; \
if [ "$$as" = none ]; then \
  echo "$@: missing:$$missing; install them as root (apt-get install$$missing)."; \
  echo "$@: until then $(WITHOUT)."; \
  exit 0; fi; \
$$as env DEBIAN_FRONTEND=noninteractive apt-get -q update || exit 1; \
known=""; for p in $$missing; do \
  if apt-cache show $$p >/dev/null 2>&1; then known="$$known $$p"; \
  else echo "$@: no package is called $$p here: what needs it is skipped."; fi; done; \
[ -z "$$known" ] || $$as env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $$known
endef

clean: ## remove what was built and cached (the data of 'make run' stays)
	rm -rf dist .tap .proofs node_modules/.cache
