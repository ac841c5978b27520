"""An experiment client with nothing but Python's standard library: arguments are the base URL, the key, the flag and the experiment."""

import json
import sys
import urllib.request
from typing import Any

base, key, flag, experiment = sys.argv[1:]


def call(path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(base + path, json.dumps(body).encode(), {"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


flagged = call(f"/ofrep/v1/evaluate/flags/{flag}", {"context": {"targetingKey": "u1"}})
stored = call("/api/v1/events/batch", {"events": [{"user_id": f"u{n}", "event_type": "view", "experiment_id": experiment} for n in range(3)]})
print(json.dumps({"value": flagged["value"], "processed": stored["data"]["processed"]}))
