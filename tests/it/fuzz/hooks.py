# Hooks of schemathesis: the right key for each operation, ids that exist in half of its requests, and a line for each answer.
# In the environment: FUZZ_BASE, FUZZ_OPERATOR (a key), FUZZ_TENANT (id and key), FUZZ_IDS (JSON: noun -> id), FUZZ_ANSWERS (a file).
import json
import os
import random
import time

import requests
import schemathesis

BASE, OPERATOR = os.environ["FUZZ_BASE"], os.environ["FUZZ_OPERATOR"]
TENANT, KEY = os.environ["FUZZ_TENANT"].split()
IDS = json.loads(os.environ["FUZZ_IDS"])
OPERATORS = ("/v1/tenants", "/v1/dead-letters", "/v1/system")
ANSWERS = open(os.environ["FUZZ_ANSWERS"], "a", buffering=1)
choose = random.Random(7).random


def make(path, body, key=OPERATOR):
    answer = requests.post(BASE + path, json=body, headers={"Authorization": f"Bearer {key}"}, timeout=20)
    answer.raise_for_status()
    return answer.json()["id"]


def tenant():
    return make("/v1/tenants", {"name": "fuzzed", "profile": "standard"})


def waiting_letter():
    letters = requests.get(BASE + "/v1/dead-letters", headers={"Authorization": f"Bearer {OPERATOR}"}, timeout=20).json()
    return next((letter["id"] for letter in letters["data"] if not letter["requeued_at"]), "1")


def waiting_delivery():
    """One that waits for its retry: nobody listens where it goes."""
    endpoint = {"name": "away", "url": "http://127.0.0.1:9999/", "event_types": ["fuzz.waits"]}
    make("/v1/endpoints", endpoint, KEY)
    event = make("/v1/publish", {"type": "fuzz.waits", "data": {}}, KEY)
    for _ in range(100):
        query = f"/v1/deliveries?event_id={event}&status=pending&limit=1"
        found = requests.get(BASE + query, headers={"Authorization": f"Bearer {KEY}"}, timeout=20).json()["data"]
        if found:
            return found[0]["id"]
        time.sleep(0.05)
    return IDS["deliveries"]


def replay(path):
    """One that has just begun, or is paused where it is to go on."""
    made = make("/v1/replays", {"event_id": IDS["events"]}, KEY)
    if path.endswith("/resume"):
        headers = {"Authorization": f"Bearer {KEY}"}
        requests.post(f"{BASE}/v1/replays/{made}/pause", headers=headers, timeout=20)
    return made


def event_type(method):
    """One that is there to be read or deleted; one of a few names to be put, or the tenant would soon have all it may."""
    name = f"fuzzed.{int(choose() * 9)}"
    if method != "PUT":
        headers = {"Authorization": f"Bearer {KEY}"}
        requests.put(f"{BASE}/v1/event-types/{name}", json={}, headers=headers, timeout=20).raise_for_status()
    return name


def ids_for(method, path):
    """Ids for the parameters of a path. What an operation edits or takes away is made for it, so that the rest can go on."""
    if path.startswith("/v1/tenants"):
        if "{key_id}" in path:
            return {"id": TENANT, "key_id": make(f"/v1/tenants/{TENANT}/keys", {"name": "fuzzed", "scopes": ["read"]})}
        return {"id": tenant() if method in ("PATCH", "DELETE") else TENANT}
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
        return {"id": make("/v1/publish", {"type": "a.b", "data": {}}, KEY)}
    if path.startswith("/v1/event-types"):
        return {"name": event_type(method)}
    noun = path.split("/")[2]
    return {"name" if "{name}" in path else "id": IDS.get(noun, "bridge")}


@schemathesis.hook
def before_call(context, case, kwargs):
    path, method = case.operation.path, case.method.upper()
    case.headers = case.headers or {}
    case.headers["Authorization"] = f"Bearer {OPERATOR if path.startswith(OPERATORS) else KEY}"
    # Ids that it has seen in answers are used, too: what the rest depends on must not be edited or go away.
    chosen = set((case.path_parameters or {}).values()) & {TENANT, *IDS.values()}
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
    # Nothing may be sent to where the examples point.
    if (method, path) == ("POST", "/v1/endpoints") and isinstance(case.body, dict):
        case.body["status"] = "inactive"


@schemathesis.hook
def after_call(context, case, response):
    ANSWERS.write(f"{case.method.lower()} {case.operation.path} {response.status_code}\n")
