"""Simulates how KEDA scales dispatchers under a burst, second by second, without a cluster, a clock or randomness.

    python3 autoscaling.py > burst.txt

The settings come from k8s/components/scale-by-members/scaled-object.yaml, the other numbers are the assumptions below. KEDA creates a
HorizontalPodAutoscaler (autoscaling/v2), which decides: ceil(metric / threshold), a tolerance of 10%, policies over a period, and a
stabilisation window for scaling down. Needs PyYAML."""

import math
import sys
from collections import deque
from pathlib import Path

import yaml

SETTINGS = Path(__file__).parents[2] / "k8s/components/scale-by-members/scaled-object.yaml"

BURST_EVENTS = 30_000_000
BURST_SECONDS = 600  # a nightly campaign publishes everything within ten minutes
ORDINARY = 1_000  # events a second at other times
# docs/performance.md: 0.073 ms of CPU a delivery. A pod requests half a processor.
POD = round(0.5 / 0.000073)
# One lane is one quorum queue, one leader, one processor: 400 us a message (docs/performance.md), 20 members in one.
LANE = round(1 / 0.000400 * 20)
POD_READY_AFTER = 20  # scheduled, image pulled, configuration read
METRIC_AGE = 20  # queried every 5 s, scraped every 15 s
SYNC = 15  # interval of the autoscaler
TOLERANCE = 0.10
HOURS = 3


def settings():
    spec = next(part for part in yaml.safe_load_all(SETTINGS.read_text()) if part["kind"] == "ScaledObject")["spec"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    return {
        "threshold": float(spec["triggers"][0]["metadata"]["threshold"]),
        "least": spec["minReplicaCount"],
        "most": spec["maxReplicaCount"],
        "up": behavior["scaleUp"]["policies"],
        "down": behavior["scaleDown"]["policies"],
        "up_window": behavior["scaleUp"]["stabilizationWindowSeconds"],
        "down_window": behavior["scaleDown"]["stabilizationWindowSeconds"],
    }


class Autoscaler:
    """The decisions of a HorizontalPodAutoscaler."""

    def __init__(self, wanted):
        self.settings = wanted
        self.replicas = wanted["least"]
        self.changes = deque()  # (second, difference), for the policies' periods
        self.advice = deque()  # (second, replicas), for the windows

    def look(self, now, metric):
        s = self.settings
        ratio = metric / (s["threshold"] * self.replicas)
        desired = self.replicas if abs(ratio - 1) <= TOLERANCE else math.ceil(metric / s["threshold"])
        desired = min(max(desired, s["least"]), s["most"])
        self.advice.append((now, desired))
        while self.advice[0][0] < now - max(s["up_window"], s["down_window"]):
            self.advice.popleft()
        up = min(r for at, r in self.advice if at >= now - s["up_window"])
        down = max(r for at, r in self.advice if at >= now - s["down_window"])
        if up > self.replicas:
            self._set(now, min(up, self._limit(now, s["up"], +1)))
        elif down < self.replicas:
            self._set(now, max(down, self._limit(now, s["down"], -1)))
        return self.replicas

    def _limit(self, now, policies, sign):
        limits = []
        for policy in policies:
            period = policy["periodSeconds"]
            lately = sum(d for at, d in self.changes if at > now - period and d * sign > 0)
            start = self.replicas - lately
            if policy["type"] == "Percent":
                step = start * policy["value"] / 100
                limits.append(math.ceil(start + step) if sign > 0 else math.floor(start - step))
            else:
                limits.append(start + sign * policy["value"])
        return max(limits) if sign > 0 else min(limits)

    def _set(self, now, replicas):
        if replicas != self.replicas:
            self.changes.append((now, replicas - self.replicas))
            self.replicas = replicas


def simulate(wanted, table=False):
    scaler = Autoscaler(wanted)
    ready = deque([0] * wanted["least"])  # the second at which each pod can work
    waiting, oldest, past = 0, deque(), deque([0] * METRIC_AGE)
    most, worst, drained, pod_seconds, changes = 0, 0.0, None, 0, 0
    for now in range(HOURS * 3600):
        came = ORDINARY + (BURST_EVENTS // BURST_SECONDS if now < BURST_SECONDS else 0)
        waiting += came
        oldest.append([now, came])
        working = sum(1 for at in ready if at <= now)
        done = min(waiting, min(working * POD, LANE))
        waiting -= done
        while done:
            took = min(done, oldest[0][1])
            worst = max(worst, now - oldest[0][0])
            oldest[0][1] -= took
            done -= took
            if not oldest[0][1]:
                oldest.popleft()
        most = max(most, waiting)
        if drained is None and now > BURST_SECONDS and waiting == 0:
            drained = now
        past.append(waiting)
        metric = past.popleft()
        if now % SYNC == 0:
            before, after = len(ready), scaler.look(now, metric)
            changes += before != after
            ready.extend([now + POD_READY_AFTER] * (after - before))
            while len(ready) > after:
                ready.pop()
        pod_seconds += len(ready)
        if table and now % 60 == 0 and (now <= 1800 or now % 300 == 0) and now <= 3600:
            print(f"{now // 60:>6} {came:>9,} {waiting:>12,} {len(ready):>10} {working:>8}")
    return most, worst, drained, max(pod_seconds / 3600, 0), changes


def minutes(seconds):
    return "never" if seconds is None else f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"


def main():
    wanted = settings()
    print(f"A burst of {BURST_EVENTS:,} events in {BURST_SECONDS // 60} minutes on top of {ORDINARY:,} a second, one endpoint each.")
    print(f"A pod delivers {POD:,} a second, a lane carries {LANE:,}; a pod works {POD_READY_AFTER} s after it is asked for;")
    print(f"the autoscaler looks every {SYNC} s at figures that are {METRIC_AGE} s old.")
    print(f"\nKEDA as in {SETTINGS.relative_to(Path(__file__).parents[2])}:\n")
    print(f"{'minute':>6} {'accepted':>9} {'waiting':>12} {'pods':>10} {'working':>8}")
    most, worst, drained, hours, changes = simulate(wanted, table=True)
    print(f"\nmost waiting {most:,}; longest wait {minutes(worst)}; all delivered after {minutes(drained)};")
    print(f"{hours:.1f} pod-hours in {HOURS} hours; the number of pods changed {changes} times")
    print("\nOther settings:\n")
    print(f"{'':<44} {'most waiting':>13} {'longest wait':>14} {'delivered after':>16} {'pod-hours':>10} {'changes':>8}")
    shapes = [("as shipped", {})]
    shapes += [(f"threshold {threshold:,}", {"threshold": threshold}) for threshold in (10_000, 1_000_000, 5_000_000)]
    shapes += [(f"maxReplicaCount {most}", {"most": most}) for most in (4, 10, 40)]
    shapes += [
        ("minReplicaCount 8", {"least": 8}),
        ("scale up by one pod a minute", {"up": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}),
        ("scale down at once", {"down_window": 0, "down": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}),
        ("no autoscaler, 2 pods", {"most": 2}),
    ]
    for name, change in shapes:
        most, worst, drained, hours, changes = simulate({**wanted, **change})
        print(f"{name:<44} {most:>13,} {minutes(worst):>14} {minutes(drained):>16} {hours:>10.1f} {changes:>8}")


if __name__ == "__main__":
    sys.exit(main())
