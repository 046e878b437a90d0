#!/usr/bin/env bash
# One OpenTelemetry histogram in seconds is two metrics in Prometheus: the JavaScript exporter leaves the
# unit out of the name, the Python exporter appends it. JavaScript's buckets end where seconds begin.
#
# Versions: @opentelemetry/exporter-prometheus 0.223.0, @opentelemetry/sdk-metrics 2.12.1 (npm),
#           opentelemetry-exporter-prometheus 0.66b2, opentelemetry-sdk 1.45.2 (PyPI), Node 20.20, Python 3.11.
# Guess:    the exporters follow one specification, so that a dashboard works for services in any language.
# Seen:     `rpc.server.call.duration` with unit "s" is rpc_server_call_duration in JavaScript and
#           rpc_server_call_duration_seconds in Python; both use buckets made for milliseconds, whose first
#           bound above 0 is 5: every call of a fast server falls into one bucket. Two attributes that differ
#           in a dot and an underscore are written as one label twice in JavaScript, and one of them is
#           dropped in Python.
# Output:   as below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund @opentelemetry/api@1.9.1 \
  @opentelemetry/exporter-prometheus@0.223.0 @opentelemetry/sdk-metrics@2.12.1
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
  opentelemetry-sdk==1.45.2 opentelemetry-exporter-prometheus==0.66b2

cat >run.mjs <<'END'
import { PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import { MeterProvider } from "@opentelemetry/sdk-metrics";

const exporter = new PrometheusExporter({ preventServerStart: true });
const meter = new MeterProvider({ readers: [exporter] }).getMeter("m");
meter.createHistogram("rpc.server.call.duration", { unit: "s" }).record(0.004);
meter.createCounter("appended").add(1, { "stream.type": "a", stream_type: "b" });
const { resourceMetrics } = await exporter.collect();
const page = new PrometheusSerializer().serialize(resourceMetrics);
console.log(`js name ${/^# TYPE (\S+) histogram$/m.exec(page)[1]}`);
console.log(`js buckets ${[...page.matchAll(/le="([^"]+)"/g)].slice(0, 3).map((found) => found[1]).join(" ")}`);
console.log(`js labels ${[...page.matchAll(/stream_type="(\w)"/g)].map((found) => found[1]).join(" ")}`);
END
cat >run.py <<'END'
import re

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import generate_latest

meter = MeterProvider([PrometheusMetricReader()]).get_meter("m")
meter.create_histogram("rpc.server.call.duration", unit="s").record(0.004)
meter.create_counter("appended").add(1, {"stream.type": "a", "stream_type": "b"})
page = generate_latest().decode()
print("py name", re.search(r"^# TYPE (rpc\S+) histogram$", page, re.M)[1])
print("py buckets", *[str(float(bound)).removesuffix(".0") for bound in re.findall(r'le="([^"]+)"', page)[:3]])
print("py labels", *re.findall(r'stream_type="(\w)"', page))
END
cat >expected <<'END'
js name rpc_server_call_duration
js buckets 0 5 10
js labels a b
py name rpc_server_call_duration_seconds
py buckets 0 5 10
py labels b
END
node run.mjs >seen
venv/bin/python run.py >>seen
diff expected seen
echo "as written"
