"""Reads the newest spans of the project `bench` as a DataFrame with the unmodified client; runs in the environment of the clients.

`python dataframe.py URL SPANS TIMES` prints the number of rows and the seconds of each reading.
"""

import sys
import time

from phoenix.client import Client

url, spans, times = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
client = Client(base_url=url)
for _ in range(times):
    started = time.perf_counter()
    frame = client.spans.get_spans_dataframe(project_identifier="bench", limit=spans, timeout=300)
    print(len(frame), time.perf_counter() - started, flush=True)
