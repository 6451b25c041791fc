"""The dashboard and the alert rules name only what a running server has."""

import json
import os
import re
import shutil
import subprocess

import pytest

from lib.server import BUILD, ROOT, Server

RULES = ROOT / "packaging/prometheus/bulkhead.rules.yml"
DASHBOARD = ROOT / "packaging/grafana/bulkhead.json"
NAME = re.compile(r"\b(?:bulkhead|process)_[a-z_]+\b(?=\s*[{\[)>=<+\-*/ ]|$)")
SELECTOR = re.compile(r"\b((?:bulkhead|process)_[a-z_]+)\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)\s*(=~|=|!=|!~)\s*"([^"]*)"')
OUTSIDE = {"instance", "job"}  # given by Prometheus


def rule_expressions():
    return re.findall(r"^\s*expr: (.*)$", RULES.read_text(), re.M)


def dashboard_expressions():
    return [t["expr"] for p in json.loads(DASHBOARD.read_text())["panels"] for t in p.get("targets", [])]


@pytest.fixture(scope="module")
def samples(items):
    """(name, labels) of everything on /metrics, of a server without TLS; the certificate's metric is looked at by itself."""
    with Server(items) as server:
        return [(name, dict(labels)) for name, labels in server.metrics().samples]


def test_there_are_rules_and_panels():
    assert len(rule_expressions()) >= 15 and len(dashboard_expressions()) >= 30


@pytest.mark.parametrize("where", [rule_expressions, dashboard_expressions])
def test_every_metric_and_label_exists(where, samples):
    names = {name for name, _ in samples} | {"bulkhead_tls_certificate_expiry_seconds"}  # with TLS only: test_tls.py
    for expression in where():
        used = set(NAME.findall(expression))
        assert used or "up{" in expression, expression
        assert used <= names, f"{used - names} in {expression}"
        for name, matchers in SELECTOR.findall(expression):
            for label, operator, value in MATCHER.findall(matchers):
                if label in OUTSIDE:
                    continue
                have = {labels.get(label) for n, labels in samples if n == name}
                for one in value.split("|") if "~" in operator else [value]:
                    assert one in have, f"{name} has no {label}={one!r} (it has {have}), in {expression}"


@pytest.mark.parametrize("where", [rule_expressions, dashboard_expressions])
def test_what_is_summed_by_a_label_has_it(where, samples):
    for expression in where():
        for labels, inner in re.findall(r"by \(([\w, ]+)\) \((.*?)\)", expression):
            for name in NAME.findall(inner):
                have = set().union(*(set(lab) for n, lab in samples if n == name)) | OUTSIDE
                assert set(labels.replace(" ", "").split(",")) <= have, expression


def test_promtool_accepts_the_rules_and_their_test():
    promtool = shutil.which("promtool", path=f"{os.environ['PATH']}:{BUILD / 'deps/promtool/usr/bin'}")
    if not promtool:
        pytest.skip("there is no promtool here (Debian: prometheus)")
    subprocess.run([promtool, "check", "rules", RULES], check=True, capture_output=True)
    done = subprocess.run([promtool, "test", "rules", "bulkhead.test.yml"], cwd=RULES.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
