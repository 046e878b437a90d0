#!/usr/bin/env bash
# Starts Annals on a Unix socket and the order service, and stops them in the right order: first the
# service, which needs Annals to finish its work, then Annals.
#
#   PORT    where the service answers HTTP          (default 8080)
#   STATE   where events, read model and socket are (default .tmp/sidecar)
set -euo pipefail
cd "$(dirname "$0")"
repository=$(cd ../.. && pwd)
state=${STATE:-$repository/.tmp/sidecar}
build=${BUILD:-$repository/.tmp/sidecar-build}
mkdir -p "$state" "$build"

if ! cmp -s requirements.txt "$build/requirements.txt"; then
  python3 -m venv "$build/venv"
  "$build/venv/bin/pip" install --quiet --requirement requirements.txt
  cp requirements.txt "$build/"
fi
"$build/venv/bin/python" -m grpc_tools.protoc -I "$repository/proto" \
  --python_out="$build" --grpc_python_out="$build" "$repository"/proto/annals/v1/*.proto

# The socket is in a folder of this user, because everyone who can connect may do everything.
install -d -m 0700 "$state/run"
socket=$state/run/annals.sock

(cd "$repository" && exec node_modules/.bin/node src/bin.ts serve --no-tcp \
  --unix-socket "$socket" --data "$state/data") &
annals=$!
service=
stop() {
  trap - TERM INT EXIT
  code=0
  if [ -n "$service" ]; then
    kill -TERM "$service" 2>/dev/null || true
    wait "$service" || code=$?
  fi
  kill -TERM "$annals" 2>/dev/null || true
  wait "$annals" || code=$?
  exit "$code"
}
trap stop TERM INT EXIT

# The service does not wait for Annals: it retries its calls until Annals answers.
ANNALS_ADDRESS="unix:$socket" READ_MODEL="$state/read-model.sqlite" PYTHONPATH="$build" \
  SERVICE_CONFIG="$repository/proto/annals/v1/annals_grpc_service_config.json" \
  PORT="${PORT:-8080}" "$build/venv/bin/python" orders.py &
service=$!
# When one of the two ends, the other is stopped as well.
wait -n "$annals" "$service" || true
