#!/usr/bin/env bash
# In binary mode the Python SDK writes JSON data other than an object as Python's own notation: True,
# [{'a': None}], bare text.
#
# Versions: cloudevents 2.2.0 (PyPI, the official Python SDK), Python 3.11.
# Guess:    data of a CloudEvent with `application/json` is a JSON text in the body, whatever its type.
# Seen:     only a dict is encoded as JSON. A list with a boolean or a null, `True`, `False` and any string
#           become bodies that no JSON parser takes, or another value: the string "12" is read back as the
#           number 12. The SDK reads its own faulty bodies back as strings without an error. Structured
#           mode is right.
# Output:   as below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check cloudevents==2.2.0

cat >run.py <<'END'
from cloudevents.core.bindings import http
from cloudevents.core.v1.event import CloudEvent

attributes = {"id": "1", "source": "/s", "type": "t", "specversion": "1.0"}
for data in ({"a": [True]}, [{"a": None}], [1, 2], True, "text", "12"):
    event = CloudEvent({**attributes, "datacontenttype": "application/json"}, data)
    binary = http.to_binary_event(event)
    structured = http.from_http_event(http.to_structured_event(event))
    back = http.from_http_event(binary)
    print(f"{data!r}: body {binary.body.decode()} -> {back.get_data()!r}", structured.get_data() == data)
END
cat >expected <<'END'
{'a': [True]}: body {"a": [true]} -> {'a': [True]} True
[{'a': None}]: body [{'a': None}] -> "[{'a': None}]" True
[1, 2]: body [1, 2] -> [1, 2] True
True: body True -> 'True' True
'text': body text -> 'text' True
'12': body 12 -> 12 True
END
venv/bin/python run.py >seen
diff expected seen
echo "as written"
