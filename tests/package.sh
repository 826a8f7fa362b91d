#!/usr/bin/env bash
# Builds the Debian package; installs, upgrades, removes and purges it in a Debian of its own: see tests/README.md. As root; needs
# debootstrap and cargo-deb.
#   tests/package.sh FOLDER
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
work=${1:?a folder for what it makes}
mkdir -p "$work"
work=$(cd "$work" && pwd)

say() { printf '== %s\n' "$*" >&2; }
suite=$(sed -n 's/^ARG DEBIAN=//p' Dockerfile)
place=$work/place

# As docs/operations.md says.
say "cargo deb"
cargo build --release --locked
deploy/debian/prepare.sh
cargo deb --locked --no-build --package mesh-server --output "$work/mesh-server.deb"
dpkg-deb --info "$work/mesh-server.deb" | grep -E '^ (Package|Version|Depends|Installed-Size)' >&2

[ -d "$work/debian" ] || { say "debootstrap" && debootstrap --variant=minbase "$suite" "$work/debian" >"$work/debootstrap.log" 2>&1; }
rm -rf -- "$place"
cp -a "$work/debian" "$place"
cp "$work/mesh-server.deb" "$place/root/"
cp /etc/resolv.conf "$place/etc/resolv.conf"
# No systemd runs in there: nothing is started, and what starts it must still be there.
printf '#!/bin/sh\nexit 101\n' >"$place/usr/sbin/policy-rc.d"
chmod +x "$place/usr/sbin/policy-rc.d"
in_place() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive chroot "$place" "$@"; }
expect() { [ "$2" = "$3" ] || { printf '%s: "%s", not "%s"\n' "$1" "$3" "$2" >&2 && exit 1; }; }

say "apt install"
in_place sh -c 'apt-get update -q && apt-get install -y -q --no-install-recommends /root/mesh-server.deb' >"$work/install.log" 2>&1 || {
    tail -30 "$work/install.log" >&2
    exit 1
}
in_place mesh-server --version
expect "the data's folder" "mesh-server mesh-server 700" "$(in_place stat -c '%U %G %a' /var/lib/mesh-server)"
expect "the settings" "root mesh-server 640" "$(in_place stat -c '%U %G %a' /etc/mesh-server/mesh-server.env)"
expect "the user's shell" "/usr/sbin/nologin" "$(in_place getent passwd mesh-server | cut -d: -f7)"
for file in bash-completion/completions/mesh-server zsh/vendor-completions/_mesh-server fish/vendor_completions.d/mesh-server.fish; do
    [ -s "$place/usr/share/$file" ] || { echo "$file is not there" >&2 && exit 1; }
done
in_place sh -c 'echo MESH_EVENTS_PER_SECOND=77 >>/etc/mesh-server/mesh-server.env'
expect "a setting that the command line finds" "MESH_EVENTS_PER_SECOND=77  # .env" "$(in_place setpriv --reuid=mesh-server --regid=mesh-server --clear-groups \
    sh -c 'cd /var/lib/mesh-server && mesh-server config' | grep EVENTS_PER)"
dpkg-deb --contents "$work/mesh-server.deb" | grep -c 'man1/mesh-server-backup.1.gz' >/dev/null
[ -L "$place/etc/systemd/system/multi-user.target.wants/mesh-server.service" ] || { echo "the unit is not enabled" >&2 && exit 1; }

say "it runs as its unit says"
unit=$(in_place sh -c 'cat /lib/systemd/system/mesh-server.service 2>/dev/null || cat /usr/lib/systemd/system/mesh-server.service')
of() { sed -n "s/^$1=//p" <<<"$unit" | head -1; }
port=$((20000 + RANDOM % 12000))
# shellcheck disable=SC2016 # the words are the inner shell's
as_unit=(env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$place" setpriv --reuid="$(of User)" --regid="$(of Group)" --clear-groups
    --no-new-privs sh -c 'set -a; . "$1"; MESH_PORT=$2; cd "$3"; shift 3; exec "$@"'
    sh "$(of EnvironmentFile | sed 's/^-//')" "$port" "$(of WorkingDirectory)")
"${as_unit[@]}" "$(of ExecStart)" 2>"$work/server.log" &
server=$!
trap 'kill $server 2>/dev/null || true' EXIT
timeout 30 sh -c 'tail -n +1 -F "$1" 2>/dev/null | grep -q -m1 listening' sh "$work/server.log"
"${as_unit[@]}" mesh-server healthcheck --ready
"${as_unit[@]}" mesh-server user add ana --admin --generate --json >/dev/null
kill "$server"
wait "$server"
trap - EXIT
expect "the secret" "mesh-server 600" "$(in_place stat -c '%U %a' /var/lib/mesh-server/mesh.secret)"

say "an upgrade leaves settings and data"
echo '# mine' >>"$place/etc/mesh-server/mesh-server.env"
in_place apt-get install -y -q --reinstall /root/mesh-server.deb >>"$work/install.log" 2>&1
grep -q '^# mine' "$place/etc/mesh-server/mesh-server.env"
"${as_unit[@]}" mesh-server user list --json | grep -c ana >/dev/null

say "apt remove, apt purge"
in_place apt-get remove -y -q mesh-server >>"$work/install.log" 2>&1
[ ! -e "$place/usr/bin/mesh-server" ] && [ -s "$place/var/lib/mesh-server/mesh.db" ] && [ -s "$place/etc/mesh-server/mesh-server.env" ] || { echo "apt left or took what it should not" >&2 && exit 1; }
in_place apt-get purge -y -q mesh-server >>"$work/install.log" 2>&1
[ ! -e "$place/var/lib/mesh-server" ] && [ ! -e "$place/etc/mesh-server" ] || { echo "apt left or took what it should not" >&2 && exit 1; }
rm -rf -- "$place"
say "well: built, installed, started as its user, upgraded, removed, purged"
