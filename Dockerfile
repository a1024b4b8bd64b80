# Every image of Belay: one target for each service, and `belay` for the commands that run once.
#
#   docker build --target orders --tag belay/orders .        one image
#   scripts/images                                           all of them, from one build
#
# No base image is pinned by digest: those are to be had from a registry only, which was not at hand when this was written.
# Give them as arguments where you insist: --build-arg RUST_IMAGE=…@sha256:…

# The version of rust-toolchain.toml, on the Debian of the runtime image, so that both have one glibc and one OpenSSL.
ARG RUST_IMAGE=docker.io/library/rust:1.95.0-bookworm
# glibc, libgcc and libssl3, which is all that our programs link (scripts/check-images asks them); certificates; no shell.
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST_IMAGE} AS chef
# rust-toolchain.toml asks for lints and formatting too, which would be downloaded for nothing.
ENV RUSTUP_TOOLCHAIN=1.95.0 \
    CARGO_INCREMENTAL=0 \
    SQLX_OFFLINE=true
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    cargo install --locked cargo-chef@0.1.78
WORKDIR /src

# What the dependencies are, without our code: as long as it stays, so does the layer that holds them built.
FROM chef AS recipe
COPY . .
RUN cargo chef prepare --recipe-path /tmp/recipe.json

# Both commands name the same packages: with others, Cargo would choose other features and build the dependencies once more.
FROM chef AS build
COPY --from=recipe /tmp/recipe.json /tmp/recipe.json
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    cargo chef cook --release --locked --recipe-path /tmp/recipe.json \
    --package belay \
    --package bff \
    --package consolidator \
    --package notifications \
    --package orders \
    --package payments \
    --package product-admin \
    --package purchase-manager
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    cargo build --release --locked --bins \
    --package belay \
    --package bff \
    --package consolidator \
    --package notifications \
    --package orders \
    --package payments \
    --package product-admin \
    --package purchase-manager
RUN install --strip -D --target-directory=/out \
    target/release/belay \
    target/release/bff \
    target/release/consolidator \
    target/release/notifications \
    target/release/orders \
    target/release/payments \
    target/release/product-admin \
    target/release/purchase-manager

# Nothing is written by our programs: the root may be read-only. Where they listen is for whoever runs them to say
# (BELAY_HTTP); without it they listen on the container's own loopback.
FROM ${RUNTIME_IMAGE} AS runtime
ARG VERSION=unreleased
LABEL org.opencontainers.image.title="Belay" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
WORKDIR /
USER 65532:65532
EXPOSE 8080

FROM runtime AS bff
COPY --from=build /out/bff /usr/local/bin/bff
HEALTHCHECK CMD ["/usr/local/bin/bff", "probe"]
ENTRYPOINT ["/usr/local/bin/bff"]

FROM runtime AS consolidator
COPY --from=build /out/consolidator /usr/local/bin/consolidator
HEALTHCHECK CMD ["/usr/local/bin/consolidator", "probe"]
ENTRYPOINT ["/usr/local/bin/consolidator"]

FROM runtime AS notifications
COPY --from=build /out/notifications /usr/local/bin/notifications
HEALTHCHECK CMD ["/usr/local/bin/notifications", "probe"]
ENTRYPOINT ["/usr/local/bin/notifications"]

FROM runtime AS orders
COPY --from=build /out/orders /usr/local/bin/orders
HEALTHCHECK CMD ["/usr/local/bin/orders", "probe"]
ENTRYPOINT ["/usr/local/bin/orders"]

FROM runtime AS payments
COPY --from=build /out/payments /usr/local/bin/payments
HEALTHCHECK CMD ["/usr/local/bin/payments", "probe"]
ENTRYPOINT ["/usr/local/bin/payments"]

FROM runtime AS product-admin
COPY --from=build /out/product-admin /usr/local/bin/product-admin
HEALTHCHECK CMD ["/usr/local/bin/product-admin", "probe"]
ENTRYPOINT ["/usr/local/bin/product-admin"]

FROM runtime AS purchase-manager
COPY --from=build /out/purchase-manager /usr/local/bin/purchase-manager
HEALTHCHECK CMD ["/usr/local/bin/purchase-manager", "probe"]
ENTRYPOINT ["/usr/local/bin/purchase-manager"]

FROM runtime AS belay
COPY --from=build /out/belay /usr/local/bin/belay
ENTRYPOINT ["/usr/local/bin/belay"]
CMD ["--help"]
