# The container image of Watchpost. `make image` builds it with the available engine; docs/DEPLOYMENT.md describes how
# to run it.
#
# The release of Debian for building and running; the same for both, because the binary links to OpenSSL, libpq and
# glibc.
ARG DEBIAN=trixie
# The same as in rust-toolchain.toml; a test compares them.
ARG RUST=1.95.0
# The digests of the two base images, `@sha256:…`; `make pin-images` writes them here. An empty value means the tag's
# current image. A digest takes precedence over a tag, so an argument that changes a tag needs the digest too.
ARG RUST_DIGEST=
ARG DEBIAN_DIGEST=


# The toolchain. It includes the WebAssembly target, because build scripts compile the built-in rules.
FROM docker.io/library/rust:${RUST}-slim-${DEBIAN}${RUST_DIGEST} AS toolchain
ARG RUST
# The variable overrides rust-toolchain.toml, which also installs components for developers.
ENV RUSTUP_TOOLCHAIN=${RUST} CARGO_TARGET_DIR=/target
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends libpq-dev libssl-dev pkg-config \
    && rm -rf /var/lib/apt/lists/* \
    && rustup target add wasm32-unknown-unknown
WORKDIR /src


# All manifests with empty crates. This stage changes only with the dependencies, so the layer of compiled dependencies
# is cached otherwise. The tests are included only in this form, so a change of a test does not rebuild the image.
FROM toolchain AS skeleton
COPY . .
RUN find . -type f ! -name Cargo.toml ! -name Cargo.lock -delete \
    && sed -i '/^\[\[/,$d' tests/Cargo.toml \
    && for manifest in $(find policies server tests wasm-rules -name Cargo.toml); do \
        package="$(dirname "${manifest}")"; mkdir -p "${package}/src"; touch "${package}/src/lib.rs"; \
    done \
    && echo 'fn main() {}' | tee server/src/main.rs server/build.rs server/sbom/src/main.rs \
    && find . -type d -empty -delete


# The compiled dependencies, in their own layer.
FROM toolchain AS dependencies
# `dev` builds much faster, for experiments.
ARG PROFILE=release
# The packages of the build, which determine the features of shared dependencies.
ARG SELECTION="--package watchpost --package watchpost-sbom"
COPY --from=skeleton /src /src
RUN cargo build --locked --profile "${PROFILE}" ${SELECTION} --bin watchpost --bin watchpost-sbom


FROM dependencies AS built
COPY policies policies
COPY wasm-rules wasm-rules
COPY migrations migrations
COPY server server
# Repeated, because not every engine passes arguments on to the next stage.
ARG PROFILE=release
ARG SELECTION="--package watchpost --package watchpost-sbom"
ARG COMMIT=unknown
# The fingerprints of the empty crates are removed, because cargo compares file times and the real sources are older.
# Symbols are kept for backtraces; only debug information is stripped.
RUN rm -rf /target/*/.fingerprint/watchpost* \
    && BUILD_COMMIT="${COMMIT}" cargo build --locked --profile "${PROFILE}" ${SELECTION} --bin watchpost --bin watchpost-sbom \
    && folder="/target/$([ "${PROFILE}" = dev ] && echo debug || echo "${PROFILE}")" \
    && strip --strip-debug -o /watchpost "${folder}/watchpost" \
    && "${folder}/watchpost-sbom" > /watchpost.cdx.json


# The runtime. Slim and not distroless: libpq depends on Kerberos and LDAP, which distroless images do not have, and
# copied libraries would not be updated. The package database lists what is installed, so scanners see it.
FROM docker.io/library/debian:${DEBIAN}-slim${DEBIAN_DIGEST}
ARG DEBIAN
ARG DEBIAN_DIGEST
ARG COMMIT=unknown
ARG VERSION=unknown
LABEL org.opencontainers.image.title="Watchpost" \
      org.opencontainers.image.description="Watches machines at the edge and judges them by rules in WebAssembly" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.base.name="docker.io/library/debian:${DEBIAN}-slim${DEBIAN_DIGEST}"
# The user has a fixed id, so that operators can set the owner of a volume.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends ca-certificates libpq5 \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* \
    && groupadd --gid 65532 watchpost \
    && useradd --uid 65532 --gid watchpost --home-dir /var/lib/watchpost --no-create-home --no-log-init \
        --shell /usr/sbin/nologin watchpost \
    && install --directory --owner watchpost --group watchpost --mode 0700 /var/lib/watchpost
COPY deploy/container/watchpost.toml /etc/watchpost/watchpost.toml
COPY --from=built /watchpost /usr/bin/watchpost
# Scanners read the crates from it; the system's packages are in the package database.
COPY --from=built /watchpost.cdx.json /usr/share/doc/watchpost/watchpost.cdx.json
# A file and not variables, because variables would override the operator's file.
ENV WATCHPOST_CONFIG=/etc/watchpost/watchpost.toml
USER 65532:65532
WORKDIR /var/lib/watchpost
# All persistent data; everything else may be read-only.
VOLUME /var/lib/watchpost
EXPOSE 8443
# On SIGTERM the server drains and exits. There is no shell in between, so the signal reaches it.
STOPSIGNAL SIGTERM
# The start period covers the migration of a large database, which takes minutes.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20m --retries=3 CMD ["watchpost", "healthcheck"]
ENTRYPOINT ["watchpost"]
