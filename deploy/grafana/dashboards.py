"""Writes dashboards/*.json: four dashboards from the lists below, with equal panels and each name written once.

Run it after a change; a test compares the files. No metric has a tenant or an endpoint as a label: the API shows these."""

import json
from pathlib import Path

FOLDER = Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "prometheus"}


def rate(metric, by="", match=""):
    return f"sum{' by (' + by + ')' if by else ''} (rate({metric}{match}[$__rate_interval]))"


def quantile(q, metric, by="", match=""):
    by = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, sum by ({by}) (rate({metric}_bucket{match}[$__rate_interval])))"


def mean(metric, by, match=""):
    return f"{rate(metric + '_sum', by, match)} / {rate(metric + '_count', by, match)}"


# A panel: title, unit, description, and its queries with their legends.
OVERVIEW = [
    ("Accepted, delivered, failed", "ops", "Events accepted, deliveries made of them, and their ends, a second.", [
        (rate("postrider_ingest_events_total"), "events accepted"),
        (rate("postrider_fanout_deliveries_total"), "deliveries made"),
        (rate("postrider_dispatcher_deliveries_total", "status"), "{{status}}"),
    ]),
    ("Accepted to first attempt", "s", "The promise: from accepting an event to the end of its first attempt.", [
        (quantile(0.5, "postrider_dispatcher_accepted_to_first_attempt_seconds"), "p50"),
        (quantile(0.99, "postrider_dispatcher_accepted_to_first_attempt_seconds"), "p99"),
    ]),
    ("Waiting", "short", "Members in the queues that deliveries pass through.", [
        ("max by (queue) (postrider_broker_queue_backlog_members)", "{{queue}}"),
    ]),
    ("Behind", "s", "Age of what was recorded last, and lateness of retries.", [
        ("max(postrider_recorder_lag_seconds)", "recorder"),
        (quantile(0.99, "postrider_dispatcher_retry_late_seconds"), "retries, p99"),
    ]),
    ("Attempts by outcome", "ops", "How attempts end.", [(rate("postrider_dispatcher_attempts_total", "outcome"), "{{outcome}}")]),
    ("Refused or uncertain", "ops", "Requests over their rate (429), events without a confirm (503), dead letters.", [
        (rate("postrider_ingest_limited_requests_total"), "429"),
        (rate("postrider_ingest_unconfirmed_events_total"), "503"),
        (rate("postrider_broker_dead_letters_total"), "dead letters"),
    ]),
    ("From the exchange", "ops", "Messages of producers that publish to RabbitMQ.", [
        (rate("postrider_ingest_intake_messages_total", "result"), "{{result}}"),
    ]),
    ("Processes", "short", "Replicas that answer.", [('count by (service) (up{job="postrider"} == 1)', "{{service}}")]),
    ("Connections to PostgreSQL", "short", "Of each service's pool, and tasks that wait for one.", [
        ('max by (service) (postrider_store_connections{state="in_use"})', "{{service}} in use"),
        ("max by (service) (postrider_store_connections_max)", "{{service}} most"),
        ("max by (service) (postrider_store_waiting_tasks)", "{{service}} waiting"),
    ]),
    ("Audit", "short", "What does not add up between accepted, decided and ended; 0 is right.", [
        ("max(postrider_recorder_audit_gaps)", "gaps"),
        ("max(postrider_recorder_audit_unbalanced_days)", "days out of balance"),
    ]),
]

PROFILE = [
    ("Delivered and failed", "ops", "Deliveries that ended, of the profile.", [
        (rate("postrider_dispatcher_deliveries_total", "status", '{profile=~"$profile"}'), "{{status}}"),
    ]),
    ("Share that fails for good", "percentunit", "Failed of all that ended.", [
        (rate("postrider_dispatcher_deliveries_total", "profile", '{profile=~"$profile",status="failed"}') + " / "
         + rate("postrider_dispatcher_deliveries_total", "profile", '{profile=~"$profile"}'), "{{profile}}"),
    ]),
    ("Accepted to first attempt", "s", "What the profile's product promises.", [
        (quantile(0.5, "postrider_dispatcher_accepted_to_first_attempt_seconds", "profile", '{profile=~"$profile"}'), "{{profile}} p50"),
        (quantile(0.95, "postrider_dispatcher_accepted_to_first_attempt_seconds", "profile", '{profile=~"$profile"}'), "{{profile}} p95"),
        (quantile(0.99, "postrider_dispatcher_accepted_to_first_attempt_seconds", "profile", '{profile=~"$profile"}'), "{{profile}} p99"),
    ]),
    ("First attempts", "ops", "Events of the profile that were attempted for the first time.", [
        (rate("postrider_dispatcher_accepted_to_first_attempt_seconds_count", "profile", '{profile=~"$profile"}'), "{{profile}}"),
    ]),
]

DISPATCHER = [
    ("Attempts", "ops", "Of each dispatcher.", [(rate("postrider_dispatcher_attempts_total", "instance"), "{{instance}}")]),
    ("In flight", "short", "Attempts that are out now.", [("postrider_dispatcher_attempts_in_flight", "{{instance}}")]),
    ("Duration of attempts", "s", "Endpoints' answers, errors and timeouts included.", [
        (quantile(0.5, "postrider_dispatcher_attempt_seconds"), "p50"),
        (quantile(0.99, "postrider_dispatcher_attempt_seconds"), "p99"),
    ]),
    ("Retried and held", "ops", "What was sent to the delay ladder: retries, and deliveries that wait for their endpoint.", [
        (rate("postrider_dispatcher_retries_total"), "retries"),
        (rate("postrider_dispatcher_held_deliveries_total", "reason"), "held: {{reason}}"),
        (rate("postrider_dispatcher_deliveries_moved_to_slow_lane_total"), "moved to the slow lane"),
    ]),
    ("Lateness of retries", "s", "Later than due.", [
        (quantile(0.5, "postrider_dispatcher_retry_late_seconds"), "p50"),
        (quantile(0.99, "postrider_dispatcher_retry_late_seconds"), "p99"),
    ]),
    ("Held before an attempt", "s", "For rate, concurrency or a broken endpoint.", [
        (quantile(0.5, "postrider_dispatcher_held_seconds"), "p50"),
        (quantile(0.99, "postrider_dispatcher_held_seconds"), "p99"),
    ]),
    ("Breakers", "short", "Endpoints by the state of their breaker, and changes.", [
        ("max by (state) (postrider_dispatcher_breakers)", "{{state}}"),
        (rate("postrider_dispatcher_breaker_transitions_total", "to"), "to {{to}} a second"),
    ]),
    ("Lag of the process", "s", "How late a dispatcher itself is: over 50 ms the processors are the limit.", [
        ("postrider_dispatcher_scheduler_lag_seconds", "{{instance}}"),
    ]),
    ("Endpoints", "short", "Cached, and dispatchers that share their rates.", [
        ("postrider_dispatcher_endpoints_cached", "cached at {{instance}}"),
        ("max(postrider_dispatcher_replicas_seen)", "dispatchers"),
        (rate("postrider_dispatcher_endpoint_loads_total", "result"), "loads {{result}} a second"),
    ]),
    ("Dropped without an attempt", "ops", "Discarded, and copies that an intervention made stale.", [
        (rate("postrider_dispatcher_discarded_deliveries_total", "reason"), "{{reason}}"),
        (rate("postrider_dispatcher_stale_copies_total"), "stale copies"),
    ]),
]

BROKER = [
    ("Messages that wait", "short", "Bundles in each queue, without bundles that consumers hold.", [
        ("max by (queue) (postrider_broker_queue_messages)", "{{queue}}"),
    ]),
    ("Members consumed", "ops", "Taken from each queue.", [(rate("postrider_broker_consumed_members_total", "queue"), "{{queue}}")]),
    ("Members of a bundle", "short", "How well group commit gathers: 1 when idle, up to 32 under load.", [
        (mean("postrider_broker_bundle_members", "publisher"), "{{publisher}}"),
    ]),
    ("Confirms", "ops", "Messages confirmed.", [(rate("postrider_broker_confirmed_messages_total", "publisher"), "{{publisher}}")]),
    ("Time to confirm", "s", "From sending to the confirm, p99.", [
        (quantile(0.99, "postrider_broker_confirm_seconds", "publisher"), "{{publisher}}"),
    ]),
    ("Sent again, refused", "ops", "Confirms that did not come; nacks and returns.", [
        (rate("postrider_broker_republished_messages_total", "publisher"), "again: {{publisher}}"),
        (rate("postrider_broker_refused_messages_total", "publisher"), "refused: {{publisher}}"),
    ]),
    ("Blocked", "short", "1 while RabbitMQ blocks publishers.", [
        ("max by (service) (postrider_broker_publish_blocked)", "{{service}}"),
    ]),
    ("Lost connections", "short", "In five minutes: connections and subscriptions made again.", [
        ("sum by (connection) (increase(postrider_broker_reconnects_total[5m]))", "{{connection}}"),
        ("sum by (queue) (increase(postrider_broker_resubscribes_total[5m]))", "{{queue}}"),
    ]),
    ("Dead letters", "short", "In five minutes, and bundles that were split to find one.", [
        ("sum by (queue) (increase(postrider_broker_dead_letters_total[5m]))", "{{queue}}"),
        ("sum by (queue) (increase(postrider_broker_split_bundles_total[5m]))", "split bundles: {{queue}}"),
    ]),
    ("Recorder", "s", "Time to write a batch.", [
        (quantile(0.5, "postrider_recorder_write_seconds"), "p50"),
        (quantile(0.99, "postrider_recorder_write_seconds"), "p99"),
    ]),
    ("Members of a recorder's batch", "short", "More of them cost less each.", [(mean("postrider_recorder_batch_members", "service"), "mean")]),
    ("Rows", "ops", "Written, by table.", [(rate("postrider_recorder_rows_total", "table"), "{{table}}")]),
]

PROFILES = {
    "name": "profile",
    "type": "query",
    "datasource": SOURCE,
    "query": "label_values(postrider_dispatcher_deliveries_total, profile)",
    "refresh": 2,
    "multi": True,
    "includeAll": True,
    "current": {"text": "All", "value": "$__all"},
}


def panel(number, title, unit, description, queries):
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "description": description,
        "datasource": SOURCE,
        "gridPos": {"x": 12 * (number % 2), "y": 8 * (number // 2), "w": 12, "h": 8},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": {"fillOpacity": 5, "showPoints": "never"}}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": expr, "legendFormat": legend}
            for index, (expr, legend) in enumerate(queries)
        ],
    }


def board(name, title, panels, variables=()):
    document = {
        "uid": f"postrider-{name}",
        "title": f"Postrider: {title}",
        "tags": ["postrider"],
        "editable": False,
        "refresh": "30s",
        "schemaVersion": 39,
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": list(variables)},
        "links": [{"title": "Postrider", "type": "dashboards", "tags": ["postrider"], "keepTime": True}],
        "panels": [panel(number, *what) for number, what in enumerate(panels)],
    }
    (FOLDER / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    board("overview", "overview", OVERVIEW)
    board("profile", "a profile", PROFILE, [PROFILES])
    board("dispatcher", "dispatchers", DISPATCHER)
    board("broker", "broker and recorder", BROKER)
