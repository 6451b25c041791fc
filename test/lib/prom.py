"""A strict reader of the Prometheus text format, so that a malformed page fails the test that reads it."""

import math
import re

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)\Z")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\["\\n])*)"(?:,|\Z)')
TYPES = {"counter", "gauge", "histogram", "summary", "untyped"}


class Malformed(AssertionError):
    pass


def _labels(text):
    out, at = {}, 0
    while at < len(text):
        m = LABEL.match(text, at)
        if not m:
            raise Malformed(f"labels: {text!r}")
        if m[1] in out:
            raise Malformed(f"label twice: {text!r}")
        out[m[1]] = m[2].replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\")
        at = m.end()
    return out


class Metrics:
    def __init__(self, text):
        self.help, self.type, self.samples = {}, {}, {}
        if not text.endswith("\n"):
            raise Malformed("the last line has no line feed")
        family = None
        for line in text.splitlines():
            if line.startswith("# HELP "):
                name, _, words = line[7:].partition(" ")
                if name in self.help or not words:
                    raise Malformed(line)
                self.help[name] = words
            elif line.startswith("# TYPE "):
                name, _, kind = line[7:].partition(" ")
                if name in self.type or kind not in TYPES or not NAME.match(name):
                    raise Malformed(line)
                self.type[name] = kind
                family = name
            elif line and not line.startswith("#"):
                self._sample(line, family)

    def _sample(self, line, family):
        m = SAMPLE.match(line)
        if not m:
            raise Malformed(line)
        name, labels = m["name"], _labels(m["labels"] or "")
        suffixes = ("", "_bucket", "_sum", "_count") if self.type.get(family) in ("histogram", "summary") else ("",)
        if name not in [f"{family}{s}" for s in suffixes]:
            raise Malformed(f"{line!r} is not under the TYPE line of its family ({family})")
        key = (name, frozenset(labels.items()))
        if key in self.samples:
            raise Malformed(f"twice: {line}")
        self.samples[key] = float(m["value"].replace("Inf", "inf"))

    def get(self, name, /, **labels):
        """The sum over all samples of that name which have (at least) these labels; 0 when there are none."""
        want = set((k, str(v)) for k, v in labels.items())
        return sum(v for (n, have), v in self.samples.items() if n == name and want <= have)

    def has(self, name, /, **labels):
        want = set((k, str(v)) for k, v in labels.items())
        return any(n == name and want <= have for (n, have) in self.samples)

    def label_values(self, name, label):
        return {dict(have).get(label) for (n, have) in self.samples if n == name}

    def check_histogram(self, name):
        """Buckets grow, end in +Inf, and that equals the count."""
        assert self.type.get(name) == "histogram", f"{name} is {self.type.get(name)}"
        series = {}
        for (n, have), value in self.samples.items():
            if n == f"{name}_bucket":
                labels = dict(have)
                le = float(labels.pop("le").replace("Inf", "inf"))
                series.setdefault(frozenset(labels.items()), []).append((le, value))
        assert series, f"{name} has no buckets"
        for labels, buckets in series.items():
            buckets.sort()
            values = [v for _, v in buckets]
            assert values == sorted(values), f"{name}: buckets shrink: {buckets}"
            assert math.isinf(buckets[-1][0]), f"{name}: no +Inf bucket"
            assert (f"{name}_sum", labels) in self.samples, f"{name}: no sum"
            assert self.samples[(f"{name}_count", labels)] == values[-1]
