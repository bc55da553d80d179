# Commands for developers. They install everything that is needed except git, make, a C compiler and rustup.
SHELL := /bin/bash
CARGO := cargo
# Python packages, toolchains for rules in other languages, and a Debian system for the package tests; fetched once.
TOOLS := $(CURDIR)/target/tools
# Builds the Debian package.
CARGO_DEB := $(TOOLS)/cargo-deb/bin/cargo-deb

# Checks crates: licences, sources, advisories.
CARGO_DENY := $(TOOLS)/cargo-deny/bin/cargo-deny
# Builds and runs the fuzz targets, each as long as this says.
CARGO_FUZZ := $(TOOLS)/cargo-fuzz/bin/cargo-fuzz
FUZZ_SECONDS ?= 600
FUZZ_TARGETS ?= $(basename $(notdir $(wildcard tests/fuzz/fuzz_targets/*.rs)))

# The first engine that can build images; docker may be a client without a server.
ENGINE ?= $(shell { docker info >/dev/null 2>&1 && echo docker; } || command -v podman || command -v buildah)
VERSION := $(shell sed -n '/^\[workspace.package\]/,/^$$/s/^version = "\(.*\)"/\1/p' Cargo.toml)

.PHONY: run build test test-all lint format bench tools tools-all image image-test pin-images deny advisories fuzz clean

# Without --package, so that the features are those of the tests and dependencies are compiled once for both.
run: libraries target-wasm ## Builds Watchpost in the dev profile and starts it, with its data in ./watchpost-data.
	$(CARGO) run --locked --bin watchpost

build: libraries target-wasm ## Builds the release: target/release/watchpost.
	$(CARGO) build --release --locked --package watchpost

.PHONY: deb
# Both in one build, so that shared dependencies are compiled once.
deb: libraries target-wasm $(CARGO_DEB) ## Builds the Debian package in target/debian.
	$(CARGO) build --release --locked --package watchpost --package watchpost-sbom
	deploy/debian/generate target/release/watchpost target/release/watchpost-sbom target/release/debian
	$(CARGO_DEB) deb --package watchpost --no-build --locked

$(CARGO_DEB):
	$(CARGO) install --quiet --locked --debug --version 3.8.0 --root $(TOOLS)/cargo-deb cargo-deb

$(CARGO_DENY):
	$(CARGO) install --quiet --locked --debug --version 0.20.2 --root $(TOOLS)/cargo-deny cargo-deny

test: tools ## Runs the tests that every change must pass, ten minutes on two cores. Installs their requirements by apt.
	$(CARGO) test --workspace --locked

test-all: test tools-all ## Runs all tests: also other languages, a browser, systemd, the package, the image. Needs root, and Debian.
	$(CARGO) test --workspace --locked --test slow --test image

lint: libraries target-wasm ## Checks formatting, and clippy without warnings.
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

format:
	$(CARGO) fmt --all

bench: tools-all ## Runs the benchmarks of docs/PERFORMANCE.md.
	$(CARGO) bench --package watchpost-tests

# Headers of OpenSSL and libpq. SQLite is built in.
.PHONY: libraries
libraries:
	@pkg-config --exists openssl libpq 2>/dev/null || { apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends pkg-config libssl-dev libpq-dev; }

.PHONY: target-wasm
target-wasm:
	@rustc --print target-libdir --target wasm32-unknown-unknown 2>/dev/null | xargs -I{} test -d {} \
	  || rustup target add wasm32-unknown-unknown

tools: libraries target-wasm
	tests/install-tools $(TOOLS)

tools-all: tools $(CARGO_DEB) $(CARGO_DENY)
	tests/install-tools $(TOOLS) all

# Only the docker format supports health checks; the default of podman and buildah is OCI.
image: ## Builds the container image watchpost with docker, podman or buildah.
	@test -n "$(ENGINE)" || { echo "building the image needs docker, podman or buildah; install one of them" >&2; exit 1; }
	$(ENGINE) build $(if $(filter docker,$(ENGINE)),,--format docker) --build-arg VERSION=$(VERSION) \
	  --build-arg COMMIT=$$(git rev-parse --short=12 HEAD) --tag watchpost:$(VERSION) --tag watchpost:latest .

image-test: tools-all ## Builds an image from the artifacts of `make test`, and tests it; part of `make test-all`.
	$(CARGO) test --workspace --locked --test image

pin-images: ## Pins the images of Dockerfile and deploy/compose.yaml by digest; UPDATE=1 renews all digests. Needs the registries.
	@command -v skopeo >/dev/null || { apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends skopeo; }
	deploy/container/pin $(if $(UPDATE),--update)

deny: $(CARGO_DENY) ## Checks licences, sources and bans of all locked crates; duplicates are warnings. Needs no network.
	.ci/deny licenses bans sources

advisories: $(CARGO_DENY) ## Checks all locked crates for advisories and yanked versions. Needs the database of advisories.
	.ci/advisories

# RUSTC_BOOTSTRAP lets the stable compiler record coverage. Nothing else of it is unstable, because no sanitizer is used:
# there is little unsafe code, and assertions and overflow checks are on.
fuzz: libraries target-wasm c++ $(CARGO_FUZZ) ## Fuzzes each parser of untrusted bytes for FUZZ_SECONDS (600), or those of FUZZ_TARGETS.
	$(CARGO) run --locked --package watchpost-tests --bin seeds -- tests/fuzz
	cd tests/fuzz && for target in $(FUZZ_TARGETS); do \
	  RUSTC_BOOTSTRAP=1 $(CARGO_FUZZ) run --sanitizer none --codegen-units 16 --target-dir $(CURDIR)/target/fuzz $$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -timeout=30 -rss_limit_mb=4096 -print_final_stats=1 || exit 1; done

# libFuzzer is written in C++.
.PHONY: c++
c++:
	@command -v c++ >/dev/null || { apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends g++; }

$(CARGO_FUZZ):
	$(CARGO) install --quiet --locked --debug --version 0.13.2 --root $(TOOLS)/cargo-fuzz cargo-fuzz

clean:
	$(CARGO) clean
