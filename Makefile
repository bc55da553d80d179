# What a developer does. Everything that is needed beyond git, make, a C compiler and rustup is installed here.
SHELL := /bin/bash
CARGO := cargo
# Python packages, toolchains for rules in other languages and a Debian to install on, fetched once.
TOOLS := $(CURDIR)/target/tools
# Makes the Debian package.
CARGO_DEB := $(TOOLS)/cargo-deb/bin/cargo-deb

# Whichever can build images here; docker may be a client without a server.
ENGINE ?= $(shell { docker info >/dev/null 2>&1 && echo docker; } || command -v podman || command -v buildah)
VERSION := $(shell sed -n '/^\[workspace.package\]/,/^$$/s/^version = "\(.*\)"/\1/p' Cargo.toml)

.PHONY: run build test test-all lint format bench tools tools-all image image-test deny fuzz clean

# Not by its package: so it has the same features as in the tests, and dependencies are compiled once for both.
run: libraries target-wasm ## Builds Watchpost quickly and starts it here; what it needs to be tried it makes in ./watchpost-data.
	$(CARGO) run --locked --bin watchpost

build: libraries target-wasm ## Builds it as it is deployed: target/release/watchpost.
	$(CARGO) build --release --locked --package watchpost

.PHONY: deb
deb: build $(CARGO_DEB) ## A Debian package of it, in target/debian.
	deploy/debian/generate target/release/watchpost target/release/debian
	$(CARGO_DEB) deb --package watchpost --no-build --locked

$(CARGO_DEB):
	$(CARGO) install --quiet --locked --debug --version 3.8.0 --root $(TOOLS)/cargo-deb cargo-deb

test: tools ## What every change passes, in ten minutes on two cores. Installs what that needs by apt.
	$(CARGO) test --workspace --locked

test-all: test tools-all ## The rest too: other languages, a browser, machines with systemd, the package, the image. Needs root, and Debian.
	$(CARGO) test --workspace --locked --test slow --test image

lint: libraries target-wasm ## Formatting, and clippy without a warning.
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

format:
	$(CARGO) fmt --all

bench: tools-all ## Ratios, as in docs/PERFORMANCE.md.
	$(CARGO) bench --package watchpost-tests

# Headers of OpenSSL and of PostgreSQL's client. SQLite is built in.
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

tools-all: tools $(CARGO_DEB)
	tests/install-tools $(TOOLS) all

# Only docker's own format knows health checks, and podman and buildah write another by default.
image: ## Builds the container image watchpost with docker, podman or buildah.
	@test -n "$(ENGINE)" || { echo "an image is built by docker, podman or buildah; install one of them" >&2; exit 1; }
	$(ENGINE) build $(if $(filter docker,$(ENGINE)),,--format docker) --build-arg VERSION=$(VERSION) \
	  --build-arg COMMIT=$$(git rev-parse --short=12 HEAD) --tag watchpost:$(VERSION) --tag watchpost:latest .

image-test: tools-all ## Of `make test-all` only this: builds an image from what `make test` compiled, and runs it.
	$(CARGO) test --workspace --locked --test image

deny: ## Licences, sources and bans; doubles are told. Advisories need their database, which a machine without a way out cannot fetch.
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	cargo deny check licenses bans sources

fuzz: target-wasm ## Ten minutes of random components, beginning with good ones; needs a nightly toolchain.
	@command -v cargo-fuzz >/dev/null || $(CARGO) install --locked cargo-fuzz
	$(CARGO) run --locked --package watchpost-tests --bin seeds -- tests/fuzz/corpus/compile
	cd tests/fuzz && cargo +nightly fuzz run compile -- -max_total_time=600

clean:
	$(CARGO) clean
