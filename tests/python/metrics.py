"""Reads a server's figures with Prometheus' own parsers, in both formats. Usage: metrics.py URL"""

import sys
import urllib.request

from prometheus_client import parser as prometheus
from prometheus_client.openmetrics import parser as openmetrics

OPEN = "application/openmetrics-text"


def read(accept):
    request = urllib.request.Request(sys.argv[1] + "/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.headers["Content-Type"], response.read().decode()


kind, text = read("text/plain")
assert kind.startswith("text/plain; version=0.0.4"), kind
plain = {family.name: family for family in prometheus.text_string_to_metric_families(text)}
kind, text = read(OPEN)
assert kind.startswith(OPEN), kind
# This parser is strict: order of buckets, units, suffixes, what an info may be called.
open_ = {family.name: family for family in openmetrics.text_string_to_metric_families(text)}
assert len(open_) > 30, len(open_)
# The plain format has no infos: theirs are gauges that end in _info.
names = {name.removesuffix("_info") for name in plain}
assert names == set(open_), names ^ set(open_)
for name, family in open_.items():
    assert family.documentation.endswith("."), name
print("read")
