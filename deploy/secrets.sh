#!/bin/sh
# Makes the secrets of compose.yaml, once: writes ./secrets and ./.env, and never replaces anything.
#   deploy/secrets.sh [--postgres] MESH_DOMAIN GOTIFY_DOMAIN [TURN_DOMAIN]
# Names as clients see them: chat.example.org push.example.org. TURN runs on this very machine: give its own name where
# the first is behind somebody else's proxy.
set -eu
cd -- "$(dirname -- "$0")/.."
umask 077

usage() {
    sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

postgres=no
if [ "${1:-}" = --postgres ]; then
    postgres=yes
    shift
fi
if [ $# -lt 2 ] || [ $# -gt 3 ]; then usage; fi
mesh=$1 gotify=$2 turn=${3:-$1}
for name in "$mesh" "$gotify" "$turn"; do
    case $name in
        '' | -* | *[!A-Za-z0-9.-]*)
            echo "secrets.sh: \"$name\" is no host name, such as chat.example.org" >&2
            exit 2
            ;;
    esac
done
for there in secrets .env; do
    if [ -e "$there" ]; then
        echo "secrets.sh: $there is there already: move it away to begin anew (what it signed is lost then)" >&2
        exit 1
    fi
done

random() { head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'; }

new=$(mktemp -d ./secrets.XXXXXX)
trap 'rm -rf -- "$new"' EXIT
turn_secret=$(random)
password=$(random)
printf '%s\n' "$turn_secret" >"$new/turn_secret"
printf '%s\n' "$password" >"$new/postgres_password"
if [ $postgres = yes ]; then
    printf 'postgresql://mesh:%s@postgres:5432/mesh\n' "$password" >"$new/database_url"
else
    echo 'sqlite:////data/mesh.db' >"$new/database_url"
fi
cat >"$new/turnserver.conf" <<CONF
listening-port=3478
fingerprint
use-auth-secret
static-auth-secret=$turn_secret
realm=$turn
# As many relays as there are ports here: open them in the firewall, for UDP.
min-port=49160
max-port=49400
# Nobody reaches the machines beside this one through it.
no-multicast-peers
denied-peer-ip=0.0.0.0-0.255.255.255
denied-peer-ip=10.0.0.0-10.255.255.255
denied-peer-ip=100.64.0.0-100.127.255.255
denied-peer-ip=127.0.0.0-127.255.255.255
denied-peer-ip=169.254.0.0-169.254.255.255
denied-peer-ip=172.16.0.0-172.31.255.255
denied-peer-ip=192.168.0.0-192.168.255.255
denied-peer-ip=::1
denied-peer-ip=fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
denied-peer-ip=fe80::-febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff
no-tls
no-dtls
no-cli
log-file=stdout
CONF
cat >"$new/gotify.env" <<ENV
GOTIFY_DEFAULTUSER_NAME=admin
GOTIFY_DEFAULTUSER_PASS=$(random)
ENV
# Mounted into containers, whose users are others: readable there; the folder keeps everybody here out.
chmod 0444 "$new/turn_secret" "$new/postgres_password" "$new/database_url" "$new/turnserver.conf"

{
    echo "# Made by deploy/secrets.sh for compose.yaml."
    echo "MESH_DOMAIN=$mesh"
    echo "GOTIFY_DOMAIN=$gotify"
    echo "TURN_DOMAIN=$turn"
    if [ $postgres = yes ]; then echo "COMPOSE_PROFILES=postgres"; fi
    echo "# open, invite or closed; the first account can always be made, and is the administrator's."
    echo "MESH_REGISTRATION=invite"
    echo "# Push: take the # away once the token is there, see docs/operations.md."
    echo "#GOTIFY_URL=http://gotify"
    echo "#GOTIFY_TOKEN="
} >.env
mv -- "$new" secrets
trap - EXIT
echo "secrets/ and .env are made; now: docker compose up -d --build"
