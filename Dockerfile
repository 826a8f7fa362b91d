# Mesh Server.
#   docker build -t mesh-server .
#   docker run --rm -p 8000:8000 --env-file .env mesh-server
# The data is one volume, /data: give it a name (-v mesh-data:/data) to keep it.
ARG RUST_VERSION=1.95
ARG DEBIAN=bookworm

FROM rust:${RUST_VERSION}-slim-${DEBIAN} AS build
WORKDIR /src
# The dependencies first, with empty crates: this layer stays while Cargo.lock does.
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
COPY crates/protocol/Cargo.toml crates/protocol/
COPY crates/server/Cargo.toml crates/server/
COPY crates/client/Cargo.toml crates/client/
COPY crates/xtask/Cargo.toml crates/xtask/
RUN for crate in protocol server client xtask; do mkdir -p crates/$crate/src && touch crates/$crate/src/lib.rs; done \
 && for crate in server xtask; do echo 'fn main() {}' > crates/$crate/src/main.rs; done \
 && cargo build --release --locked --package mesh-server --bin mesh-server
COPY . .
# What `mesh-server --version` tells, as of git log -1 --format='%H %ct'; where it is not given, the commit is found in .git.
# Not SOURCE_DATE_EPOCH: crates that compile C ask for it, and all that stands on them would be built again.
ARG MESH_BUILD_COMMIT=
# Cargo goes by times, and the sources are older than the empty crates just built.
RUN find crates migrations -type f -exec touch {} + \
 && cargo build --release --locked --package mesh-server --bin mesh-server

FROM debian:${DEBIAN}-slim
# Root certificates, for Gotify and ntfy by TLS: the newest ones.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --system --gid 10001 mesh \
 && useradd --system --uid 10001 --gid mesh --home-dir /data --shell /usr/sbin/nologin mesh \
 && install -d -o mesh -g mesh -m 0700 /data
COPY --from=build /src/target/release/mesh-server /usr/local/bin/mesh-server
# Without DATABASE_URL the data is mesh.db in the working folder.
WORKDIR /data
VOLUME /data
EXPOSE 8000
USER 10001:10001
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["mesh-server", "healthcheck"]
ENTRYPOINT ["mesh-server"]
