#!/usr/bin/env bash
# A cluster on this machine alone, to try and to break: three PostgreSQL under Patroni, three etcd, and two Annals
# servers over them. Needs Debian's packages postgresql, patroni and etcd-server, and this checkout after `npm ci`.
#
#   cluster.sh start           start everything, wait until it is ready, and say where it is
#   cluster.sh status          the members of the cluster as Patroni sees them
#   cluster.sh url             the URL for --storage
#   cluster.sh crash PART      end a part at once (SIGKILL): node1 (Patroni and PostgreSQL), etcd1, server1 ...
#   cluster.sh run PART        start a part again
#   cluster.sh cut PART        take a part off the network (NETWORK=namespaces, as the next two)
#   cluster.sh split PART      cut a node off from the other nodes, and not from the servers
#   cluster.sh join PART       undo both
#   cluster.sh stop            stop everything in order; `start` goes on with what is stored
#   cluster.sh remove          stop everything and delete it
#
# Environment: CLUSTER_DIR (a folder of its own), SERVERS=2, STORAGE_READ=true (servers read events from standbys, too),
# NETWORK=loopback or namespaces (root only), PREFIX (the first three numbers of all addresses), and those of node.sh:
# TTL, LOOP_WAIT, RETRY_TIMEOUT, SYNCHRONOUS, WAL_KEEP_SIZE, DCS, PATRONI, PGBIN. `start` remembers them.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
DIR=${CLUSTER_DIR:-${TMPDIR:-/tmp}/annals-cluster-$(id -u)}
startSeconds=120

remembered=(SERVERS STORAGE_READ NETWORK PREFIX TTL LOOP_WAIT RETRY_TIMEOUT SYNCHRONOUS WAL_KEEP_SIZE DCS PATRONI PGBIN)
if [ -e "$DIR/settings" ]; then
  while IFS== read -r name value; do
    if [ -z "${!name:-}" ]; then printf -v "$name" %s "$value"; fi
  done <"$DIR/settings"
fi
SERVERS=${SERVERS:-2} NETWORK=${NETWORK:-loopback}
if [ "$NETWORK" = namespaces ]; then PREFIX=${PREFIX:-10.77.0}; else PREFIX=${PREFIX:-127.0.77}; fi
link=an$(tr . - <<<"$PREFIX" | cut -d- -f2-) # names of links have 15 characters at most

nodes="1 2 3"
servers() { seq 1 "$SERVERS"; }
# node1, etcd1: the same address; server1: another.
address() { case $1 in server*) echo "$PREFIX.1${1#server}" ;; node* | etcd*) echo "$PREFIX.${1: -1}" ;; esac; }
place() { case $1 in server*) echo "1${1#server}" ;; *) echo "${1: -1}" ;; esac; }
url() {
  echo "postgres://annals:$ANNALS_PASSWORD@$(address node1):5432,$(address node2):5432,$(address node3):5432/annals"
}

# A process is known by its number and when it began, so that nothing else is ever ended. One that has ended is not there,
# although it may be listed (state Z) until somebody asks how it ended.
began() { sed -n 's/.*) //; /^Z/!p' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
pid_of() {
  local pid since
  { read -r pid since <"$DIR/run/$1.pid"; } 2>/dev/null && [ "$(began "$pid")" = "$since" ] && echo "$pid"
}
postgres_of() {
  local pid
  pid=$(head -1 "$DIR/$1/data/postmaster.pid" 2>/dev/null) || return 1
  grep -qs "$DIR/$1/data" "/proc/$pid/cmdline" && echo "$pid"
}
family() { echo "$1"; ps -o pid= --ppid "$1" || true; }
# All processes of a part.
processes() {
  local pid
  pid=$(pid_of "$1") && echo "$pid"
  if [[ $1 = node* ]] && pid=$(postgres_of "$1"); then family "$pid"; fi
  true
}

# `spawn PART COMMAND...`: in the background, its output in a log.
spawn() {
  local part=$1 inside=()
  shift
  if [ "$NETWORK" = namespaces ]; then inside=(ip netns exec "$link-$(place "$part")"); fi
  "${inside[@]}" setsid "$@" </dev/null >>"$DIR/log/$part.log" 2>&1 &
  echo "$! $(began $!)" >"$DIR/run/$part.pid"
}

# PostgreSQL refuses to run as root.
as_user() { if [ "$(id -u)" = 0 ]; then echo "setpriv --reuid=postgres --regid=postgres --clear-groups"; fi; }

run() {
  local part=$1 n=${1: -1}
  if pid_of "$part" >/dev/null; then echo "$part runs" >&2; return; fi
  export NODE=$n LISTEN; LISTEN=$(address "$part")
  export ADDRESSES; ADDRESSES="$(address node1) $(address node2) $(address node3)"
  export SUPERUSER_PASSWORD REPLICATION_PASSWORD TTL LOOP_WAIT RETRY_TIMEOUT SYNCHRONOUS WAL_KEEP_SIZE DCS PATRONI PGBIN
  export DATA=$DIR/$part HOME=$DIR GOMAXPROCS=1
  case $part in
    etcd[1-3]) spawn "$part" $(as_user) "$here/node.sh" etcd ;;
    node[1-3]) spawn "$part" $(as_user) "$here/node.sh" patroni ;;
    server[1-9]) run_server "$part" ;;
    *) echo "no such part: $part" >&2; exit 2 ;;
  esac
}

run_server() {
  local part=$1 flags=()
  if [ "$NETWORK" = namespaces ]; then flags=(--allow-remote --no-auth); fi
  if [ "${STORAGE_READ:-false}" = true ]; then export ANNALS_STORAGE_READ; ANNALS_STORAGE_READ=$(url); fi
  ANNALS_STORAGE=$(url) spawn "$part" "$repository/node_modules/.bin/node" "$repository/src/main.ts" serve \
    --storage-durability replicated --host "$(address "$part")" --port 7420 "${flags[@]}"
}

network_up() {
  local n
  ip link add "$link" type bridge
  ip addr add "$PREFIX.254/24" dev "$link"
  ip link set "$link" up
  for n in $nodes $(servers | sed 's/^/1/'); do
    ip netns add "$link-$n"
    ip link add "$link-$n" type veth peer name eth0 netns "$link-$n"
    ip link set "$link-$n" master "$link" up
    ip -n "$link-$n" addr add "$PREFIX.$n/24" dev eth0
    ip -n "$link-$n" link set eth0 up
    ip -n "$link-$n" link set lo up
  done
}

network_down() {
  local n
  for n in $nodes $(servers | sed 's/^/1/'); do
    ip link del "$link-$n" 2>/dev/null || true
    ip netns del "$link-$n" 2>/dev/null || true
  done
  ip link del "$link" 2>/dev/null || true
}

# `route add|del NODE`: what the node and the others send to each other is lost.
route() {
  local n own
  own=$(place "$2")
  for n in $nodes; do
    if [ "$n" = "$own" ]; then continue; fi
    ip -n "$link-$own" route "$1" blackhole "$PREFIX.$n/32"
    ip -n "$link-$n" route "$1" blackhole "$PREFIX.$own/32"
  done
}

status() {
  python3 - $(for n in $nodes; do echo "http://$(address "node$n"):8008/cluster"; done) <<'PY'
import json, sys, urllib.request

for url in sys.argv[1:]:
    try:
        members = json.load(urllib.request.urlopen(url, timeout=2))["members"]
        break
    except Exception:
        continue
else:
    sys.exit("no node answers")
for m in sorted(members, key=lambda m: m["name"]):
    print(m["name"], m["host"], m["role"], m["state"], "timeline", m.get("timeline", "?"), "lag", m.get("lag", "-"))
PY
}

is_ready() {
  local said
  said=$(status 2>/dev/null) || return 1
  [ "$(grep -cE ' (running|streaming) ' <<<"$said")" = 3 ] && grep -q ' leader ' <<<"$said" || return 1
  [ "${SYNCHRONOUS:-true}" != true ] || grep -q ' sync_standby ' <<<"$said"
}

# `await WHAT COMMAND...`
await() {
  local what=$1 until=$((SECONDS + startSeconds))
  shift
  until "$@"; do
    if [ $SECONDS -gt $until ]; then echo "$what is not ready; its logs are in $DIR/log" >&2; exit 1; fi
    sleep 0.5
  done
}

# With `psql` on the primary: a role and a database for Annals.
prepare() {
  local n
  for n in $nodes; do
    PGPASSWORD="$SUPERUSER_PASSWORD" PGCONNECT_TIMEOUT=3 \
      psql -q -v ON_ERROR_STOP=1 -U postgres -d postgres \
      -h "$(address "node$n")" -v password="$ANNALS_PASSWORD" 2>>"$DIR/log/prepare.log" <<'SQL' && return
SELECT 'CREATE ROLE annals LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'annals') \gexec
ALTER ROLE annals PASSWORD :'password';
SELECT 'CREATE DATABASE annals OWNER annals' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'annals') \gexec
SQL
  done
  return 1
}

says_serving() { grep -qs ' serves on ' "$DIR/log/$1.log"; }

start_database() {
  local n part tool
  for tool in etcd "${PATRONI:-patroni}"; do
    if command -v "${tool%% *}" >/dev/null; then continue; fi
    echo "$tool is missing (Debian: apt-get install postgresql patroni etcd-server)" >&2
    exit 1
  done
  for part in $(all_parts); do
    if pid_of "$part" >/dev/null; then echo "it runs; cluster.sh stop ends it" >&2; exit 1; fi
  done
  mkdir -p "$DIR"/{log,run} "$DIR"/{node,etcd}{1,2,3}
  for n in "${remembered[@]}"; do
    if [ -n "${!n:-}" ]; then echo "$n=${!n}"; fi
  done >"$DIR/settings"
  chmod 711 "$DIR"
  if [ "$(id -u)" = 0 ] && ! $(as_user) test -x "$DIR"; then
    echo "PostgreSQL, which does not run as root, cannot reach $DIR; set CLUSTER_DIR to a folder that all can reach" >&2
    exit 1
  fi
  if [ ! -e "$DIR/passwords" ]; then
    (
      umask 077
      for n in SUPERUSER REPLICATION ANNALS; do echo "${n}_PASSWORD=$(od -An -N16 -tx1 /dev/urandom | tr -d ' ')"; done
    ) >"$DIR/passwords"
    chmod 600 "$DIR/passwords"
  fi
  load_passwords
  if [ "$(id -u)" = 0 ]; then chown postgres: "$DIR"/{node,etcd}{1,2,3}; fi
  rm -f "$DIR"/log/server*.log
  if [ "$NETWORK" = namespaces ]; then network_down; network_up; fi
  for n in $nodes; do run "etcd$n"; done
  for n in $nodes; do run "node$n"; done
  await "the cluster of PostgreSQL" is_ready
  await "the database" prepare
}

start_servers() {
  local n
  for n in $(servers); do run "server$n"; done
  for n in $(servers); do await "server$n" says_serving "server$n"; done
  status
  for n in $(servers); do echo "server$n $(address "server$n"):7420"; done
}

load_passwords() {
  # shellcheck source=/dev/null
  source "$DIR/passwords"
}

all_parts() {
  servers | sed 's/^/server/'
  printf 'node%s\n' $nodes
  printf 'etcd%s\n' $nodes
}

# `signal SIGNAL PART...`
signal() {
  local signal=$1 part pid
  shift
  for part in "$@"; do for pid in $(processes "$part"); do kill "-$signal" "$pid" 2>/dev/null || true; done; done
}

# Ends parts in order, and what is left after a while at once.
end() {
  local part pid i
  for part in "$@"; do if pid=$(pid_of "$part"); then kill -TERM "$pid" 2>/dev/null || true; fi; done
  for i in $(seq 300); do
    [ -z "$(for part in "$@"; do processes "$part"; done)" ] && return
    sleep 0.1
  done
  signal KILL "$@"
}

stop() {
  local primary standbys
  # shellcheck disable=SC2046
  signal CONT $(all_parts)
  # shellcheck disable=SC2046
  end $(servers | sed 's/^/server/')
  # The primary last: else the others would elect another one while they are stopped.
  primary=$(status 2>/dev/null | sed -n 's/^n\([1-3]\) [^ ]* leader .*/\1/p') || true
  standbys=$(printf 'node%s\n' $nodes | grep -v "node${primary:-1}")
  # shellcheck disable=SC2086
  end $standbys
  end "node${primary:-1}"
  # What it has is on its disk. In order, the last one would look for another leader for seconds.
  signal KILL etcd1 etcd2 etcd3
  end etcd1 etcd2 etcd3
  if [ "$NETWORK" = namespaces ]; then network_down; fi
}

remove() {
  # shellcheck disable=SC2046
  signal KILL $(all_parts)
  # shellcheck disable=SC2046
  end $(all_parts)
  if [ "$NETWORK" = namespaces ]; then network_down; fi
  rm -rf "$DIR"
}

if [ -e "$DIR/passwords" ]; then load_passwords; fi
case ${1:-} in
  start) start_database; start_servers ;;
  start-database) start_database ;;
  status) status ;;
  url) url ;;
  crash) signal KILL "${2:?which part?}" ;;
  run) run "${2:?which part?}" ;;
  cut) ip link set "$link-$(place "${2:?which part?}")" down ;;
  split) route add "${2:?which node?}" ;;
  join)
    ip link set "$link-$(place "${2:?which part?}")" up
    route del "$2" 2>/dev/null || true
    ;;
  processes) processes "${2:?which part?}" ;;
  stop) stop ;;
  remove) remove ;;
  *) sed -n '2,20s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
