#!/usr/bin/env bash
# UmaDB answers an append whose condition fails as stored where its events carry the ids of what is there,
# whatever else they say; the tracking position sent along is dropped.
#
# Versions: umadb 0.7.8 (PyPI: server and Python client), Python 3.11.
# Guess:    an append with ids that are taken is a retry if it is the same append, and a conflict if not.
# Seen:     only the ids are compared, with the first events that match the condition. Other types, tags and
#           data, and also the first half of the original append, are answered with a position, and nothing
#           is stored. A position of an upstream sent with the retry is not saved, so that a consumer that
#           relies on it is sent the same work again. Without a condition the ids are not looked at at all:
#           the event is stored a second time.
# Output:   as below.
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT
cd "$work"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check umadb==0.7.8

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
venv/bin/umadb --listen "127.0.0.1:$port" --db-path "$work/db" >server.log 2>&1 &
server=$!

cat >run.py <<'END'
import sys
import time
from uuid import uuid4

from umadb import AppendCondition, Client, Event, IntegrityError, Query, QueryItem, TrackingInfo

for attempt in range(50):
    try:
        client = Client(f"http://127.0.0.1:{sys.argv[1]}")
        break
    except Exception:
        time.sleep(0.2)

first, second = uuid4(), uuid4()
absent = AppendCondition(Query([QueryItem(types=[], tags=["a"])]))


def append(what, events, condition=absent, tracking=None):
    try:
        print(f"{what}: position {client.append(events, condition, tracking)}, head {client.head()}")
    except IntegrityError:
        print(f"{what}: refused, head {client.head()}")


def event(data, uuid, type="T", tags=("a",)):
    return Event(event_type=type, data=data, tags=list(tags), uuid=uuid)


original = [event(b"1", first), event(b"2", second)]
append("the append", original)
append("again", original)
append("other type, tags and data", [event(b"x", first, "U", ["z"]), event(b"y", second)])
append("its first half", original[:1])
append("its second half", original[1:])
append("again with a tracking position", original, absent, TrackingInfo("upstream", 7))
print(f"tracking position saved: {client.get_tracking_info('upstream')}")
append("again without a condition", original, None)
END
cat >expected <<'END'
the append: position 2, head 2
again: position 2, head 2
other type, tags and data: position 2, head 2
its first half: position 1, head 2
its second half: refused, head 2
again with a tracking position: position 2, head 2
tracking position saved: None
again without a condition: position 4, head 4
END
venv/bin/python run.py "$port" >seen
diff expected seen
echo "as written"
