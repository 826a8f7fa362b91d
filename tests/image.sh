#!/usr/bin/env bash
# Builds the Docker image without Docker, and looks at it: see tests/README.md. As root; needs buildah and debootstrap.
#   tests/image.sh FOLDER
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
root=$(pwd)
work=${1:?a folder for what it makes}
mkdir -p "$work"
work=$(cd "$work" && pwd)

say() { printf '== %s\n' "$*" >&2; }
b() { buildah --root "$work/store" --runroot "$work/run" --storage-driver overlay "$@"; }

suite=$(sed -n 's/^ARG DEBIAN=//p' Dockerfile)
rust=$(sed -n 's/^ARG RUST_VERSION=//p' Dockerfile)
slim=docker.io/library/debian:$suite-slim
builder=docker.io/library/rust:$rust-slim-$suite

if ! b inspect --type image "$slim" >/dev/null 2>&1; then
    say "the base: $slim"
    [ -d "$work/debian" ] || debootstrap --variant=minbase "$suite" "$work/debian" >"$work/debootstrap.log" 2>&1
    # As Debian's own slim image: no documents, and an apt that keeps nothing.
    for folder in var/cache/apt var/lib/apt/lists usr/share/doc usr/share/man usr/share/locale; do
        find "$work/debian/$folder" -mindepth 1 -delete
    done
    printf '%s\n' 'Dir::Cache::pkgcache "";' 'Dir::Cache::srcpkgcache "";' \
        'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };' >"$work/debian/etc/apt/apt.conf.d/docker-clean"
    container=$(b from scratch)
    b add -q "$container" "$work/debian" / >/dev/null
    b commit -q "$container" "$slim" >/dev/null
    b rm "$container" >/dev/null
fi
if ! b inspect --type image "$builder" >/dev/null 2>&1; then
    say "the builder: $builder"
    container=$(b from --pull-never "$slim")
    b run --isolation chroot "$container" -- sh -c 'apt-get update -q && apt-get install -y -q --no-install-recommends gcc libc6-dev ca-certificates' >"$work/builder.log" 2>&1
    toolchain=$(rustc --print sysroot)
    b add -q "$container" "$toolchain" /usr/local/rust >/dev/null
    b config --env PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    # A machine behind a proxy of its own trusts what that proxy signs.
    b add -q "$container" /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt >/dev/null
    b commit -q "$container" "$builder" >/dev/null
    b rm "$container" >/dev/null
fi

say "docker build -t mesh-server ."
registry=${CARGO_HOME:-$HOME/.cargo}/registry
commit=$(git log -1 --format='%H %ct')
b bud --format docker --isolation chroot --pull-never --layers --volume "$registry:/root/.cargo/registry" --build-arg "MESH_BUILD_COMMIT=$commit" -t mesh-server --ignorefile .dockerignore -f Dockerfile . >"$work/build.log" 2>&1 || {
    tail -40 "$work/build.log" >&2
    exit 1
}
# The last compilation is that of the sources: the dependencies came from their layer.
again=$(tac "$work/build.log" | sed '/STEP .*: COPY \. \./q' | sed -n 's/^ *Compiling \(.*\) v.*/\1/p' | grep -v '^mesh-' || true)
[ -z "$again" ] || {
    echo "the layer of dependencies was not used: $(echo "$again" | paste -sd ' ') built again" >&2
    exit 1
}

say "the image"
container=$(b from --pull-never mesh-server)
tree=$(b mount "$container")
trap 'b umount "$container" >/dev/null 2>&1 || true; b rm "$container" >/dev/null 2>&1 || true' EXIT
b images --format '{{.Name}} {{.Size}}' | grep mesh-server >&2
b inspect --type image --format '{{.Docker.Config.User}} {{.Docker.Config.Volumes}} {{.Docker.Config.Entrypoint}} {{.Docker.Config.Healthcheck}}' mesh-server >&2

# As `docker run --read-only --env-file .env -v …:/data` would: its user, a root that cannot be written, .env of .env.example.
data=$work/data
rm -rf "$data"
install -d -o 10001 -g 10001 -m 0700 "$data"
port=$((20000 + RANDOM % 12000))
in_image=(unshare --mount -- sh -euc '
    mount --bind "$1" "$1"
    mount -o remount,bind,ro "$1"
    mount --bind "$2" "$1/data"
    exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin MESH_PORT="$MESH_PORT" \
        setpriv --no-new-privs chroot --userspec=10001:10001 --groups= "$1" \
        sh -c "cd /data && exec mesh-server \"\$@\"" mesh-server "$3" ${4:+"$4"} ${5:+"$5"}
' sh "$tree" "$data")
export MESH_PORT=$port
cp .env.example "$data/.env"
version=$("${in_image[@]}" --version)
say "$version"
[[ $version == *"(${commit:0:12} 20"* ]]
"${in_image[@]}" serve 2>"$work/server.log" &
server=$!
trap 'kill $server 2>/dev/null || true; wait $server 2>/dev/null || true; b umount "$container" >/dev/null 2>&1 || true; b rm "$container" >/dev/null 2>&1 || true' EXIT
# It says when it listens.
timeout 30 sh -c 'tail -n +1 -F "$1" 2>/dev/null | grep -q -m1 listening' sh "$work/server.log"
"${in_image[@]}" healthcheck --ready --json
[ "$(stat -c '%u %a' "$data/mesh.secret")" = "10001 600" ]
kill "$server"
wait "$server"
if "${in_image[@]}" healthcheck 2>/dev/null; then
    echo "healthcheck is content with a server that is gone" >&2
    exit 1
fi
say "well: built, started as its user on a read-only root, healthy, stopped in order"
