# The commands of CONTRIBUTING.md; `make help` lists them. The work is in scripts/ and CMakeLists.txt, this file only names it.
#
#   BUILD_DIR    where everything goes (default: build)      DUCKDB_ROOT  an engine of your own, instead of the fetched one
#   JOBS         compile jobs                                SKIP_PACKAGES=1  never call apt-get
#   PREFIX, DESTDIR  for install                             LISTEN  for run (default: 127.0.0.1:8480)

BUILD_DIR ?= build
PREFIX ?= /usr/local
export BUILD_DIR DUCKDB_ROOT JOBS SKIP_PACKAGES LISTEN
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := build
.PHONY: build run sample test bench fuzz soak install deb format lint clean help packages-build deps

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

packages-build:
	@scripts/install-packages build

deps: packages-build ## fetch the pinned third-party parts
	@scripts/fetch-deps

build: deps ## the binaries: build/bulkhead and build/bulkhead-worker
	@scripts/build $(BUILD_DIR)

sample: build ## the sample database: build/sample.duckdb
	@scripts/make-sample

run: sample ## serve the sample database on 127.0.0.1:8480
	@exec scripts/run

test: ## every test; ends with one line "N passed, N failed" (SUITES="unit fault" for some)
	@scripts/install-packages test
	@exec scripts/test-all $(SUITES)

bench: build ## the benchmark: prints ratios, writes docs/benchmarks.md
	@scripts/install-packages bench
	@scripts/venv bench
	@exec bench/run $(BENCH_ARGS)

fuzz: deps ## fuzz every target for FUZZ_SECONDS (default 60) each
	@scripts/install-packages test
	@exec scripts/fuzz $(TARGETS)

soak: ## long variants: faults (SOAK_MINUTES, default 30), 500 kills of writes, a day of many tenants, every format against the engine, and all of the virtual machines
	@scripts/install-packages test
	@BULKHEAD_SOAK_MINUTES=$${SOAK_MINUTES:-30} exec scripts/test-all fault blackbox vm

install: build ## install below PREFIX (default /usr/local), DESTDIR in front of it
	@DESTDIR="$(DESTDIR)" cmake --install $(BUILD_DIR) --prefix "$(PREFIX)"

deb: build ## a Debian package: build/bulkhead_VERSION_ARCH.deb
	@scripts/deb

format: ## clang-format over all C files
	@scripts/install-packages lint
	@scripts/lint --fix

lint: build ## check the format, the shell scripts, and clang-tidy's findings
	@scripts/install-packages lint
	@scripts/lint

clean: ## remove what was built (not the fetched parts: rm -r build does that too)
	@test ! -e $(BUILD_DIR) || test -e $(BUILD_DIR)/.configured || { echo "make clean: $(BUILD_DIR) was not made by make build" >&2; exit 2; }
	@find $(BUILD_DIR) -mindepth 1 -maxdepth 1 ! -name deps ! -name venv -exec rm -rf {} + 2>/dev/null || true
