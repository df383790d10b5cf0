"""Writes the groups of alerts.yml as the PrometheusRule of k8s/components/monitoring. Run it after a change; a test compares both."""

from pathlib import Path

import yaml

HERE = Path(__file__).parent
TARGET = HERE.parent.parent / "k8s/components/monitoring/rules.yaml"

rule = {
    "apiVersion": "monitoring.coreos.com/v1",
    "kind": "PrometheusRule",
    "metadata": {"name": "postrider"},
    "spec": yaml.safe_load((HERE / "alerts.yml").read_text()),
}
header = "# The groups of deploy/prometheus/alerts.yml, written by deploy/prometheus/to-kubernetes.py.\n"
TARGET.write_text(header + yaml.safe_dump(rule, sort_keys=False, width=140))
