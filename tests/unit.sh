#!/usr/bin/env bash
# Runs the Debian package under a real systemd: see tests/README.md. As root; needs what tests/package.sh left in the same folder, and podman with runc.
#   tests/unit.sh FOLDER
set -euo pipefail
work=$(cd -- "${1:?the folder that tests/package.sh was given}" && pwd)
[ -s "$work/mesh-server.deb" ] && [ -d "$work/debian" ] || { echo "run tests/package.sh $work first" >&2 && exit 1; }

say() { printf '== %s\n' "$*" >&2; }
place=$work/unit
name=mesh-unit-$$
in_place() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive chroot "$place" "$@"; }
# The engine's own default limits are above what an unprivileged machine may set.
podman() { command podman --runtime runc "$@"; }
inside() { podman exec -i "$name" "$@"; }
expect() { [ "$2" = "$3" ] || { printf '%s: "%s", not "%s"\n' "$1" "$3" "$2" >&2 && inside journalctl -u mesh-server --no-pager | tail -20 >&2 && exit 1; }; }
# Does something, and waits until the journal says these words of it.
until_heard() {
    local words=$1 since
    shift
    since=$(inside journalctl -n 0 --show-cursor | sed -n 's/^-- cursor: //p')
    inside "$@"
    inside timeout 90 sh -c 'journalctl -f -u mesh-server --after-cursor="$1" | grep -q -m1 "$2"' sh "$since" "$words"
}

say "a Debian with systemd"
rm -rf -- "$place"
cp -a "$work/debian" "$place"
cp /etc/resolv.conf "$place/etc/resolv.conf"
in_place sh -c 'apt-get update -q && apt-get install -y -q --no-install-recommends systemd systemd-sysv dbus adduser ca-certificates' >"$work/unit.log" 2>&1
cp "$work/mesh-server.deb" "$place/root/"
podman run --detach --name "$name" --privileged --systemd=always --network none --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 \
    --rootfs "$place" /sbin/init >/dev/null
trap 'podman rm --force "$name" >/dev/null 2>&1 || true' EXIT
inside sh -c 'until systemctl is-system-running --wait; do [ $? = 1 ] && break; done' >/dev/null 2>&1 || true

say "the package starts it"
inside sh -c 'apt-get install -y -q --no-install-recommends /root/mesh-server.deb' >>"$work/unit.log" 2>&1
expect "the service" active "$(inside systemctl is-active mesh-server)"
expect "what it says of itself" serving "$(inside systemctl show mesh-server -p StatusText --value)"
as_server() { inside setpriv --reuid=mesh-server --regid=mesh-server --clear-groups sh -c "cd /var/lib/mesh-server && $1"; }
expect "a check" ok "$(as_server 'mesh-server healthcheck --ready')"
as_server 'mesh-server user add ana --admin --generate --json' >/dev/null

say "a reload, a crash, a hang"
inside systemctl reload mesh-server
expect "after a reload" active "$(inside systemctl is-active mesh-server)"
pid() { inside systemctl show mesh-server -p MainPID --value; }
until_heard Started sh -c "kill -KILL $(pid)"
until_heard "Watchdog timeout" sh -c "kill -STOP $(pid)"
inside timeout 30 sh -c 'until systemctl is-active -q mesh-server; do sleep 0.2; done'
as_server 'mesh-server user list --json' | grep -c ana >/dev/null

say "backups go where the unit lets them"
inside sh -euc '
    install -d -m 0700 -o mesh-server -g mesh-server /var/backups/mesh
    mkdir -p /etc/systemd/system/mesh-server.service.d
    printf "[Service]\nReadWritePaths=/var/backups/mesh\n" >/etc/systemd/system/mesh-server.service.d/backups.conf
    echo MESH_BACKUP_DIR=/var/backups/mesh >>/etc/mesh-server/mesh-server.env
    systemctl daemon-reload'
until_heard "a backup was made" systemctl restart mesh-server
as_server 'mesh-server backup verify /var/backups/mesh/*.db'

say "a stop in order"
inside systemctl stop mesh-server
expect "its end" "success 0" "$(inside systemctl show mesh-server -p Result -p ExecMainStatus --value | paste -sd ' ')"
podman rm --force "$name" >/dev/null
trap - EXIT
rm -rf -- "$place"
say "well: started, watched, reloaded, started again, backed up and stopped by systemd"
