# Hooks of schemathesis: they set the key of each operation, use existing ids in half of the requests, and write a line for each answer.
# Environment variables: FUZZ_BASE, FUZZ_OPERATOR (a key), FUZZ_TENANTS (JSON: a list of {"id", "key", "ids": noun -> id}), FUZZ_ANSWERS
# (a file). Requests use the tenants in turn, because each has a limit of edits.
from datetime import datetime, timezone
import json
import os
import random
import time

import requests
import schemathesis

BASE, OPERATOR = os.environ["FUZZ_BASE"], os.environ["FUZZ_OPERATOR"]
TENANTS = json.loads(os.environ["FUZZ_TENANTS"])
DEPENDED_ON = {value for tenant in TENANTS for value in (tenant["id"], *tenant["ids"].values())}
TENANT, KEY, IDS = None, None, None
OPERATORS = ("/v1/tenants", "/v1/dead-letters", "/v1/system", "/v1/keys")
ANSWERS = open(os.environ["FUZZ_ANSWERS"], "a", buffering=1)
choose = random.Random(7).random


def next_tenant():
    global TENANT, KEY, IDS
    TENANTS.append(TENANTS.pop(0))
    TENANT, KEY, IDS = (TENANTS[0][name] for name in ("id", "key", "ids"))


def make(path, body, key=OPERATOR):
    """Creates an object. Waits while the tenant's limit of edits is reached."""
    for _ in range(120):
        answer = requests.post(BASE + path, json=body, headers={"Authorization": f"Bearer {key}"}, timeout=120)
        if answer.status_code != 429:
            break
        time.sleep(0.5)
    answer.raise_for_status()
    # Counts as an answer of the operation: whether a generated replay is valid depends on chance, and this one always is.
    ANSWERS.write(f"post {path} {answer.status_code}\n")
    return answer.json()["id"]


def tenant():
    return make("/v1/tenants", {"name": "fuzzed", "profile": "standard"})


def waiting_letter():
    letters = requests.get(BASE + "/v1/dead-letters", headers={"Authorization": f"Bearer {OPERATOR}"}, timeout=120).json()
    return next((letter["id"] for letter in letters["data"] if not letter["requeued_at"]), "1")


def waiting_delivery():
    """A delivery that waits for its retry: nothing listens on its port."""
    endpoint = {"name": "away", "url": "http://127.0.0.1:9999/", "event_types": ["fuzz.waits"]}
    make("/v1/endpoints", endpoint, KEY)
    event = make("/v1/publish", {"type": "fuzz.waits", "data": {}}, KEY)
    for _ in range(1_200):
        query = f"/v1/deliveries?event_id={event}&status=pending&limit=1"
        found = requests.get(BASE + query, headers={"Authorization": f"Bearer {KEY}"}, timeout=120).json()["data"]
        if found:
            return found[0]["id"]
        time.sleep(0.05)
    return IDS["deliveries"]


def recorded_event():
    event = make("/v1/publish", {"type": "a.b", "data": {}}, KEY)
    for _ in range(1_200):
        headers = {"Authorization": f"Bearer {KEY}"}
        if requests.get(f"{BASE}/v1/events/{event}", headers=headers, timeout=120).ok:
            break
        time.sleep(0.05)
    return event


def replay(path):
    """A replay that has just started, or a paused one for the operation that resumes it."""
    headers = {"Authorization": f"Bearer {KEY}"}
    # A tenant may have few replays that have not ended, so earlier ones are cancelled.
    for old in requests.get(f"{BASE}/v1/replays", headers=headers, timeout=120).json()["data"]:
        if old["status"] in ("running", "paused"):
            requests.post(f"{BASE}/v1/replays/{old['id']}/cancel", headers=headers, timeout=120)
    made = make("/v1/replays", {"event_id": IDS["events"]}, KEY)
    if path.endswith("/resume"):
        requests.post(f"{BASE}/v1/replays/{made}/pause", headers=headers, timeout=120)
    return made


def event_type(method):
    """An existing event type to read or delete, or one of a few names to put, so that the tenant stays below its limit."""
    name = f"fuzzed.{int(choose() * 9)}"
    if method != "PUT":
        headers = {"Authorization": f"Bearer {KEY}"}
        requests.put(f"{BASE}/v1/event-types/{name}", json={}, headers=headers, timeout=120).raise_for_status()
    return name


def ids_for(method, path):
    """Ids for the parameters of a path. An operation that edits or deletes gets a new object, so that others are not affected."""
    if path.startswith("/v1/tenants"):
        if "{key_id}" in path:
            owner = tenant()
            return {"id": owner, "key_id": make(f"/v1/tenants/{owner}/keys", {"name": "fuzzed", "scopes": ["read"]})}
        return {"id": tenant() if method in ("PATCH", "DELETE", "POST") else TENANT}
    if path.startswith("/v1/keys"):
        return {"key_id": make("/v1/keys", {"name": "fuzzed", "scopes": ["publish"], "tenants": "all"})}
    if path == "/v1/endpoints/{id}" and method in ("PATCH", "DELETE"):
        endpoint = {"name": "fuzzed", "url": "http://127.0.0.1:9999/", "event_types": ["none"], "status": "inactive"}
        return {"id": make("/v1/endpoints", endpoint, KEY)}
    if path.startswith("/v1/dead-letters"):
        return {"id": waiting_letter()}
    if path.startswith("/v1/replays"):
        return {"id": replay(path)}
    if path == "/v1/deliveries/{id}/cancel":
        return {"id": waiting_delivery()}
    if method == "DELETE" and path.endswith("/payload"):
        return {"id": recorded_event()}
    if path.startswith("/v1/event-types"):
        return {"name": event_type(method)}
    noun = path.split("/")[2]
    return {"name" if "{name}" in path else "id": IDS.get(noun, "bridge")}


@schemathesis.hook
def before_call(context, case, kwargs):
    path, method = case.operation.path, case.method.upper()
    next_tenant()
    case.headers = case.headers or {}
    case.headers["Authorization"] = f"Bearer {OPERATOR if path.startswith(OPERATORS) else KEY}"
    # schemathesis also uses ids from answers. Objects that other requests depend on must not be edited or deleted.
    chosen = set((case.path_parameters or {}).values()) & DEPENDED_ON
    if choose() < 0.5 and not (chosen and method in ("PATCH", "DELETE")):
        return
    if "{" in path:
        case.path_parameters = {**(case.path_parameters or {}), **ids_for(method, path)}
    for header in list(case.headers):
        if header.lower() == "if-match":
            del case.headers[header]
    for name in ("tenant", "cursor"):
        if case.query and name in case.query:
            del case.query[name]
    if (method, path) == ("POST", "/v1/keys") and isinstance(case.body, dict) and isinstance(case.body.get("tenants"), list):
        case.body["tenants"] = [TENANT]
    # Nothing may be sent to the URLs of examples.
    if (method, path) == ("POST", "/v1/endpoints") and isinstance(case.body, dict):
        case.body["status"] = "inactive"
    # An endpoint without an outage is recovered since a given time.
    if (method, path) == ("POST", "/v1/endpoints/{id}/recover") and isinstance(case.body, dict):
        case.body["dry_run"] = True
        case.body["since"] = datetime.now(timezone.utc).strftime("%Y-%m-%dT00:00:00Z")


@schemathesis.hook
def after_call(context, case, response):
    ANSWERS.write(f"{case.method.lower()} {case.operation.path} {response.status_code}\n")
