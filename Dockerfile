# Watchpost as a container. `make image` builds it with whatever engine there is; docs/DEPLOYMENT.md tells how it is run.
#
# The release of Debian that it is built and run on: both the same, for the binary links to OpenSSL, libpq and glibc.
ARG DEBIAN=trixie
# As in rust-toolchain.toml; a test holds the two together.
ARG RUST=1.95.0


# What compiles it. Rules are built for WebAssembly by build scripts, so the toolchain has that target too.
FROM docker.io/library/rust:${RUST}-slim-${DEBIAN} AS toolchain
ARG RUST
# Named here, it is not looked up in rust-toolchain.toml, which also wants what only developers need.
ENV RUSTUP_TOOLCHAIN=${RUST} CARGO_TARGET_DIR=/target
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends libpq-dev libssl-dev pkg-config \
    && rm -rf /var/lib/apt/lists/* \
    && rustup target add wasm32-unknown-unknown
WORKDIR /src


# All manifests, and behind each of them nothing. It is the same for as long as no dependency changes, and then so is
# everything that is built from it. Of the tests there is never more than that: no change there builds an image again.
FROM toolchain AS skeleton
COPY . .
RUN find . -type f ! -name Cargo.toml ! -name Cargo.lock -delete \
    && sed -i '/^\[\[/,$d' tests/Cargo.toml \
    && for manifest in $(find policies server tests wasm-rules -name Cargo.toml); do \
        package="$(dirname "${manifest}")"; mkdir -p "${package}/src"; touch "${package}/src/lib.rs"; \
    done \
    && echo 'fn main() {}' | tee server/src/main.rs server/build.rs \
    && find . -type d -empty -delete


# The dependencies, in a layer of their own.
FROM toolchain AS dependencies
# `dev` builds in a fraction of the time, for a try.
ARG PROFILE=release
# What is built together: a dependency has the features that all of it wants.
ARG SELECTION="--package watchpost"
COPY --from=skeleton /src /src
RUN cargo build --locked --profile "${PROFILE}" ${SELECTION} --bin watchpost


FROM dependencies AS built
COPY policies policies
COPY wasm-rules wasm-rules
COPY migrations migrations
COPY server server
# Said once more, for not every engine hands them on to the next stage.
ARG PROFILE=release
ARG SELECTION="--package watchpost"
ARG COMMIT=unknown
# What was built of nothing is forgotten; cargo goes by the times of files, and the real ones are older. Symbols stay,
# for a backtrace without names helps nobody; what only debuggers read goes.
RUN rm -rf /target/*/.fingerprint/watchpost* \
    && BUILD_COMMIT="${COMMIT}" cargo build --locked --profile "${PROFILE}" ${SELECTION} --bin watchpost \
    && strip --strip-debug -o /watchpost "/target/$([ "${PROFILE}" = dev ] && echo debug || echo "${PROFILE}")/watchpost"


# What runs it. Slim and not distroless: libpq brings Kerberos and LDAP, which distroless images do not have, and
# copying libraries out of another image leaves them to whoever remembers to update them. Here the distribution's own
# tools know what is installed, so scanners do too.
FROM docker.io/library/debian:${DEBIAN}-slim
ARG COMMIT=unknown
ARG VERSION=unknown
LABEL org.opencontainers.image.title="Watchpost" \
      org.opencontainers.image.description="Watches machines at the edge and judges them by rules in WebAssembly" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
# The user has a fixed number, so that whoever prepares a volume knows whose it has to be.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends ca-certificates libpq5 \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* \
    && groupadd --gid 65532 watchpost \
    && useradd --uid 65532 --gid watchpost --home-dir /var/lib/watchpost --no-create-home --no-log-init \
        --shell /usr/sbin/nologin watchpost \
    && install --directory --owner watchpost --group watchpost --mode 0700 /var/lib/watchpost
COPY deploy/container/watchpost.toml /etc/watchpost/watchpost.toml
COPY --from=built /watchpost /usr/bin/watchpost
# A file and not variables: they would count more than a file that somebody puts in its place.
ENV WATCHPOST_CONFIG=/etc/watchpost/watchpost.toml
USER 65532:65532
WORKDIR /var/lib/watchpost
# All that has to outlive the container; everything else may be read-only.
VOLUME /var/lib/watchpost
EXPOSE 8443
# SIGTERM ends it when every answer is written. No shell stands between, so the signal reaches it.
STOPSIGNAL SIGTERM
# Until it was healthy once, it has the time of a start: a large database that is brought up to date takes minutes.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20m --retries=3 CMD ["watchpost", "healthcheck"]
ENTRYPOINT ["watchpost"]
