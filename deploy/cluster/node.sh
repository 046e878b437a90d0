#!/usr/bin/env bash
# Runs one part of the cluster in the foreground: `node.sh etcd` or `node.sh patroni` (which runs PostgreSQL).
# cluster.sh starts it on this machine, compose.yaml in a container each. `node.sh check FILE` refuses a
# configuration of Patroni with which acknowledged events can be lost.
#
# NODE (1, 2, 3), ADDRESSES ("A B C", of the three nodes), ETCD_ADDRESSES (absent: the same), LISTEN (an IP
# address), DATA (a folder), SUPERUSER_PASSWORD and REPLICATION_PASSWORD say what it is. Absent ones of the
# others: TTL=20 LOOP_WAIT=2 RETRY_TIMEOUT=5 SYNCHRONOUS=true WAL_KEEP_SIZE=2GB DCS=etcd PATRONI=patroni
# PGBIN=(the newest)
set -euo pipefail

part=${1:-}
PATRONI=${PATRONI:-patroni}

# With the section `etcd3`, Patroni up to 3.0.2 (which Debian 12 has) writes the leader's key without comparing once its
# lease has run out. A primary whose PostgreSQL hung for that long takes the lock back from the new primary, whose
# acknowledged commits are then rewound. The section `etcd` compares, and later versions do.
check() {
  local file=$1 version
  version=$($PATRONI --version | grep -o '[0-9][0-9.]*' | head -1)
  if grep -q '^etcd3:' "$file" && [ "$(printf '%s\n' 3.0.3 "$version" | sort -V | head -1)" != 3.0.3 ]; then
    echo "refused: $file uses the section etcd3, with which Patroni $version loses acknowledged commits when" \
      "PostgreSQL alone hangs for longer than the lease; use the section etcd (etcd --enable-v2=true)," \
      "or a newer Patroni" >&2
    exit 1
  fi
  if [ "${SYNCHRONOUS:-true}" = true ]; then
    local setting
    for setting in synchronous_mode synchronous_mode_strict; do
      grep -Eq "^ *$setting: *(true|on)" "$file" && continue
      echo "refused: $file does not say $setting: true, so a failover loses acknowledged commits" >&2
      exit 1
    done
  fi
}

if [ "$part" = check ]; then
  check "${2:?which file?}"
  exit
fi

NODE=${NODE:?which node: 1, 2 or 3} DATA=${DATA:?a folder} LISTEN=${LISTEN:?an IP address}
read -ra addresses <<<"${ADDRESSES:?the addresses of the three nodes}"
read -ra etcd_addresses <<<"${ETCD_ADDRESSES:-$ADDRESSES}"
own=${addresses[NODE - 1]}
client_port=2379 peer_port=2380 postgres_port=5432 rest_port=8008

run_etcd() {
  local own=${etcd_addresses[NODE - 1]} members="" state=new n
  for n in 1 2 3; do members+=,e$n=http://${etcd_addresses[n - 1]}:$peer_port; done
  [ -d "$DATA/member" ] && state=existing
  # --pre-vote: a member that comes back must not force an election, which would cost the primary its lease.
  exec etcd --name "e$NODE" --data-dir "$DATA" --enable-v2=true --pre-vote=true \
    --listen-client-urls "http://$LISTEN:$client_port" --advertise-client-urls "http://$own:$client_port" \
    --listen-peer-urls "http://$LISTEN:$peer_port" --initial-advertise-peer-urls "http://$own:$peer_port" \
    --initial-cluster "${members#,}" --initial-cluster-state "$state" --heartbeat-interval 100 --election-timeout 1000
}

run_patroni() {
  local synchronous=${SYNCHRONOUS:-true} hosts="" lag=1048576 n
  # A synchronous standby lacks only what was not acknowledged. With the bound of the others, none would be promoted if
  # the primary dies amidst a large commit.
  if [ "$synchronous" = true ]; then lag=1099511627776; fi
  PGBIN=${PGBIN:-$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)}
  for n in 1 2 3; do hosts+=,${etcd_addresses[n - 1]}:$client_port; done
  mkdir -p "$DATA/data" "$DATA/socket"
  chmod 700 "$DATA/data"
  (
    umask 077
    cat >"$DATA/patroni.yml" <<YML
scope: annals
name: n$NODE
restapi: {listen: "$LISTEN:$rest_port", connect_address: "$own:$rest_port"}
${DCS:-etcd}: {hosts: "${hosts#,}"}
bootstrap:
  dcs:
    ttl: ${TTL:-20}
    loop_wait: ${LOOP_WAIT:-2}
    retry_timeout: ${RETRY_TIMEOUT:-5}
    maximum_lag_on_failover: $lag
    synchronous_mode: $synchronous
    synchronous_mode_strict: $synchronous
    failsafe_mode: true
    postgresql:
      use_pg_rewind: true
      use_slots: true
      parameters:
        max_connections: 100
        max_wal_size: 1GB
        # What a former primary needs to come back must not be gone. pg_rewind copies all that is kept.
        wal_keep_size: ${WAL_KEEP_SIZE:-2GB}
        wal_log_hints: "on"
        checkpoint_timeout: 1min
        wal_sender_timeout: 5s
        wal_receiver_timeout: 5s
        # The new primary acknowledges nothing until the other standby follows it.
        wal_retrieve_retry_interval: 500ms
        hot_standby_feedback: "off"
  initdb: [{encoding: UTF8}, {locale: C.UTF-8}, data-checksums]
postgresql:
  listen: "$LISTEN:$postgres_port"
  connect_address: "$own:$postgres_port"
  data_dir: $DATA/data
  bin_dir: $PGBIN
  pgpass: $DATA/pgpass
  parameters: {unix_socket_directories: "$DATA/socket"}
  pg_hba:
    - local all all trust
    - host replication replicator all scram-sha-256
    - host all all all scram-sha-256
  authentication:
    superuser: {username: postgres, password: "$SUPERUSER_PASSWORD"}
    replication: {username: replicator, password: "$REPLICATION_PASSWORD"}
    rewind: {username: rewinder, password: "$REPLICATION_PASSWORD"}
watchdog: {mode: "off"}
YML
  )
  check "$DATA/patroni.yml"
  # Patroni may be a command with arguments.
  exec $PATRONI "$DATA/patroni.yml"
}

case $part in
  etcd) run_etcd ;;
  patroni) run_patroni ;;
  *) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
