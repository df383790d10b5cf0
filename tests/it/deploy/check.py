"""Checks the output of kustomize and prints a line for each mistake.

    python3 check.py <folder of the custom resources' schemas> <alerts.yml> <built.yaml>...

kubernetes-validate validates Kubernetes' own objects strictly, the schemas validate custom resources. Then come our own rules: pods are
restricted and have limits, and references lead to existing objects."""

import json
import re
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

VERSION = "1.33"
# The C implementation, if there is one.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Created by the operators, or before the deployment (secret.example.yaml of a component in k8s/components).
SECRETS = {"postrider-rabbitmq-default-user", "postrider-postgres-app", "postrider-keys", "postrider-tls", "postrider-oidc"}
WORKLOADS = ("Deployment", "StatefulSet", "Job")
# The default of POSTRIDER_DATABASE_CONNECTIONS_MAX.
POOL = 16
SERVICES = ("ingest", "fanout", "dispatcher", "recorder", "api")


def schemas(folder):
    found = {}
    for path in Path(folder).glob("*.json"):
        schema = json.loads(path.read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        members = schema["properties"]
        found[members["apiVersion"]["const"], members["kind"]["const"]] = jsonschema.Draft202012Validator(schema)
    return found


SEEN = {}


def invalid(thing, validators):
    """The violations of the schema. Each object is validated once, even if several overlays have it."""
    key = json.dumps(thing, sort_keys=True)
    if key not in SEEN:
        SEEN[key] = list(violations(thing, validators))
    return SEEN[key]


def violations(thing, validators):
    own = validators.get((thing.get("apiVersion"), thing.get("kind")))
    if own:
        for error in own.iter_errors(thing):
            yield f"{error.json_path}: {error.message[:200]}"
        return
    try:
        kubernetes_validate.validate(thing, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{'.'.join(map(str, error.path))}: {error.message[:200]}"


def seconds(text):
    return int(re.fullmatch(r"(\d+)s", text)[1])


def unrestricted(thing):
    """The permissions that a pod should not have, and its missing settings."""
    pod = thing["spec"]["template"]["spec"]
    context = pod.get("securityContext", {})
    if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
        yield "may run as root"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "has no seccomp profile"
    if pod.get("automountServiceAccountToken") is not False:
        yield "gets a token of the cluster"
    if thing["kind"] != "Job" and "terminationGracePeriodSeconds" not in pod:
        yield "has no grace period of its own"
    for container in pod.get("initContainers", []) + pod["containers"]:
        own = container.get("securityContext", {})
        if own.get("readOnlyRootFilesystem") is not True:
            yield "can write to its root"
        if own.get("allowPrivilegeEscalation") is not False or own.get("capabilities", {}).get("drop") != ["ALL"]:
            yield "keeps privileges"
        resources = container.get("resources", {})
        for kind in ("requests", "limits"):
            if set(resources.get(kind, {})) < {"cpu", "memory"}:
                yield f"has no {kind} of cpu and memory"
        for probe in () if thing["kind"] == "Job" else ("startupProbe", "readinessProbe", "livenessProbe"):
            if probe not in container:
                yield f"has no {probe}"
        if container.get("livenessProbe", {}).get("httpGet", {}).get("path") == "/readyz":
            yield "is restarted when its engines are away"
        for variable in container.get("env", []):
            if re.search(r"(PASS|KEYS?$|TOKEN|SECRET)", variable["name"]) and "valueFrom" not in variable:
                yield f"has the secret {variable['name']} in plain sight"
        drain = [variable["value"] for variable in container.get("env", []) if variable["name"] == "POSTRIDER_DRAIN_TIMEOUT"]
        pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if drain and pod["terminationGracePeriodSeconds"] < seconds(drain[0]) + pause + 5:
            yield "is killed before it has drained"


def images(thing):
    """Every image in the object."""
    if isinstance(thing, dict):
        for key, value in thing.items():
            if key in ("image", "imageName") and isinstance(value, str):
                yield value
            else:
                yield from images(value)
    elif isinstance(thing, list):
        for part in thing:
            yield from images(part)


def selected(selector, things, kinds=WORKLOADS):
    """The workloads whose pods a selector matches."""
    wanted = selector.get("matchLabels", selector if "matchExpressions" not in selector else {})
    for thing in things:
        if thing["kind"] not in kinds:
            continue
        labels = thing["spec"]["template"]["metadata"]["labels"]
        if any(labels.get(key) != value for key, value in wanted.items()):
            continue
        if all(labels.get(term["key"]) in term["values"] for term in selector.get("matchExpressions", [])):
            yield thing["metadata"]["name"]


def dangling(thing, things, operators):
    """References to missing objects. Pods of operators are not in the files."""
    names = {(other["kind"], other["metadata"]["name"]) for other in things}
    kind, spec = thing["kind"], thing.get("spec", {})
    selectors = {"Service": spec.get("selector"), "PodDisruptionBudget": spec.get("selector"), "NetworkPolicy": spec.get("podSelector")}
    selector = selectors.get(kind)
    if selector and not list(selected(selector, things)):
        if not operators & set(map(str, selector.get("matchLabels", selector).values())):
            yield f"selects nothing: {selector}"
    target = spec.get("scaleTargetRef")
    if target and (target.get("kind", "Deployment"), target["name"]) not in names:
        yield f"scales nothing: {target['name']}"
    if kind == "Ingress":
        for rule in spec["rules"]:
            for path in rule["http"]["paths"]:
                if ("Service", path["backend"]["service"]["name"]) not in names:
                    yield f"routes {path['path']} to nothing"
    generated = {name for other_kind, name in names if other_kind in ("Secret", "ConfigMap")}
    for reference in re.findall(r'"(?:secretKeyRef|secretRef|configMapRef)": \{[^}]*?"name": "([^"]+)"', json.dumps(thing)):
        if reference not in generated | SECRETS:
            yield f"refers to {reference}, which does not exist"


def whole(things):
    """Mistakes that only the set of all objects shows."""
    named = {(thing["kind"], thing["metadata"]["name"]): thing for thing in things}
    for service in SERVICES:
        for kind in ("Deployment", "Service", "PodDisruptionBudget"):
            if (kind, service) not in named:
                yield f"there is no {kind} {service}"
        deployment = named.get(("Deployment", service))
        if deployment and not deployment["spec"]["template"]["spec"].get("topologySpreadConstraints"):
            yield f"Deployment {service} is not spread"
        scaled = any(thing["kind"] in ("HorizontalPodAutoscaler", "ScaledObject") and thing["metadata"]["name"] == service for thing in things)
        if deployment and scaled and "replicas" in deployment["spec"]:
            yield f"Deployment {service} sets replicas against its autoscaler"
    paths = [path for rule in named["Ingress", "postrider"]["spec"]["rules"] for path in rule["http"]["paths"]]
    if [(path["path"], path["backend"]["service"]["name"]) for path in paths] != [("/v1/publish", "ingest"), ("/", "api")]:
        yield "the Ingress does not route by path"
    outside = set()
    for thing in things:
        if thing["kind"] != "NetworkPolicy":
            continue
        for rule in thing["spec"].get("egress", []):
            peers = rule.get("to", [])
            if not peers or any("ipBlock" in peer for peer in peers):
                outside.update(selected(thing["spec"]["podSelector"], things))
    # The component `sign-in` lets the API reach an identity provider.
    wanted = {"dispatcher", "api"} if ("NetworkPolicy", "postrider-identity-provider") in named else {"dispatcher"}
    if outside != wanted:
        yield f"these reach the internet: {sorted(outside)}"
    for thing in things:
        if thing["kind"] == "Cluster":
            allowed, most = int(thing["spec"]["postgresql"]["parameters"]["max_connections"]), connections(things)
            # The rest is for people, replication and backups.
            if most > allowed * 0.9:
                yield f"{most} connections to PostgreSQL are possible, its limit is {allowed}"
    denied = named.get(("NetworkPolicy", "postrider-nothing-else"), {}).get("spec", {})
    if denied.get("policyTypes") != ["Ingress", "Egress"] or "egress" in denied or "ingress" in denied:
        yield "traffic without a policy is not denied"


def connections(things):
    """Maximum connections to PostgreSQL, with every autoscaler at its maximum: a pool for each pod, and one connection for the feed."""
    most = {}
    for thing in things:
        spec = thing.get("spec", {})
        if thing["kind"] == "Deployment":
            most.setdefault(thing["metadata"]["name"], spec.get("replicas", 1))
        if thing["kind"] in ("HorizontalPodAutoscaler", "ScaledObject"):
            most[spec["scaleTargetRef"]["name"]] = spec.get("maxReplicas", spec.get("maxReplicaCount"))
    total = 0
    for thing in things:
        if thing["kind"] == "Deployment":
            env = thing["spec"]["template"]["spec"]["containers"][0]["env"]
            pool = next((int(v["value"]) for v in env if v["name"] == "POSTRIDER_DATABASE_CONNECTIONS_MAX"), POOL)
            total += most[thing["metadata"]["name"]] * (pool + 1)
    return total


def problems(path, validators, alerts):
    things = [thing for thing in yaml.load_all(Path(path).read_text(), LOADER) if thing]
    operators = {thing["metadata"]["name"] for thing in things if thing["kind"] in ("RabbitmqCluster", "Cluster")}
    for thing in things:
        name = f"{thing.get('kind')} {thing['metadata']['name']}"
        found = invalid(thing, validators).copy()
        if thing["kind"] in WORKLOADS:
            found += unrestricted(thing)
        for image in images(thing):
            tag = image.rpartition(":")[2] if ":" in image.rpartition("/")[2] else ""
            if tag in ("", "latest"):
                found.append(f"the image {image} has no version")
        found += dangling(thing, things, operators)
        if thing["kind"] == "PrometheusRule" and thing["spec"] != alerts:
            found.append("differs from the groups of alerts.yml: run deploy/prometheus/to-kubernetes.py")
        for problem in found:
            yield f"{name}: {problem}"
    yield from whole(things)


def main():
    validators = schemas(sys.argv[1])
    alerts = yaml.safe_load(Path(sys.argv[2]).read_text())
    wrong = 0
    for path in sys.argv[3:]:
        for problem in problems(path, validators, alerts):
            print(f"{Path(path).stem}: {problem}")
            wrong += 1
    sys.exit(1 if wrong else 0)


main()
