"""What Prometheus reads. Counts of this process, and what the shared tables say at the moment of the question."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ..workflows import available_bindings
from .workers import BUCKETS, Measured

if TYPE_CHECKING:
    from .service import JobService
    from .webhooks import WebhookSender
    from .workers import WorkerStore

TIMES = {
    "wait": "From the acceptance of a job to its first attempt",
    "run": "From an attempt's begin to the end of its prompt",
    "decode": "Of that, decoding and writing the video",
    "fetch": "Fetching, checking and storing the video",
}
_BY = ["worker"]
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30)


class Metrics(Collector):
    """One gateway's metrics. What the shared tables say is the same at every one: boards take the maximum, not the sum."""

    def __init__(self, service: JobService, webhooks: WebhookSender) -> None:
        self._service, self._webhooks = service, webhooks
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self.accepted = Counter("flf2v_jobs_accepted", "Jobs accepted by this gateway", ["api"], registry=self.registry)
        self.requests = Counter("flf2v_requests", "Requests answered", ["path", "status"], registry=self.registry)
        self.seconds = Histogram(
            "flf2v_request_seconds", "Time to answer", ["path"], buckets=_SECONDS, registry=self.registry
        )

    def collect(self) -> Iterator[Metric]:
        """What the shared tables say."""
        depth = GaugeMetricFamily("flf2v_queue_depth", "Jobs that wait", labels=["workflow"])
        age = GaugeMetricFamily("flf2v_queue_age_seconds", "Wait of the job that is next", labels=["workflow"])
        waiting = {name: (0, 0.0) for name in available_bindings()} | self._service.jobs.depths.waiting()
        for workflow, (number, oldest) in waiting.items():
            depth.add_metric([workflow], number)
            age.add_metric([workflow], oldest)
        jobs = GaugeMetricFamily("flf2v_jobs", "Jobs that have not ended, by state", labels=["state"])
        jobs.add_metric(["queued"], sum(number for number, _ in waiting.values()))
        jobs.add_metric(["running"], self._service.jobs.running())
        yield from (depth, age, jobs)
        yield from _of_workers(self._service.workers)
        number, oldest = self._webhooks.waiting()
        yield GaugeMetricFamily("flf2v_webhooks_waiting", "Webhooks to deliver", value=number)
        yield GaugeMetricFamily("flf2v_webhook_age_seconds", "Age of the oldest of them", value=oldest)
        yield CounterMetricFamily("flf2v_webhooks_sent", "Webhooks this gateway delivered", value=self._webhooks.sent)
        yield CounterMetricFamily("flf2v_webhooks_dead", "Webhooks this gateway gave up", value=self._webhooks.failed)


def _of_workers(store: WorkerStore) -> Iterator[Metric]:
    """What every worker that was here in the last days counted, the dead ones too."""
    up = GaugeMetricFamily("flf2v_worker_up", "1 while a worker lives and takes jobs", labels=_BY)
    status = GaugeMetricFamily("flf2v_worker_status", "1 for the state that it is in", labels=["worker", "status"])
    seen = GaugeMetricFamily("flf2v_worker_seen_seconds", "Time since its last heartbeat", labels=_BY)
    restarts = CounterMetricFamily("flf2v_worker_restarts", "Restarts of its ComfyUI", labels=_BY)
    attempts = CounterMetricFamily("flf2v_attempts", "Attempts, by how they ended", labels=["worker", "outcome"])
    times = {name: HistogramMetricFamily(f"flf2v_job_{name}_seconds", text, labels=_BY) for name, text in TIMES.items()}
    for worker in store.every():
        lives = store.lives(worker)
        up.add_metric([worker.id], float(lives and worker.able))
        status.add_metric([worker.id, worker.status if lives or worker.status == "stopped" else "dead"], 1)
        seen.add_metric([worker.id], worker.age)
        restarts.add_metric([worker.id], worker.restarts)
        measured = Measured.of(worker.measured)
        for outcome, number in measured.attempts.items():
            attempts.add_metric([worker.id, outcome], number)
        for name, kept in measured.times.items():
            if name in times:
                buckets = list(zip([*map(str, BUCKETS), "+Inf"], accumulate(kept["buckets"]), strict=True))
                times[name].add_metric([worker.id], buckets, kept["sum"])
    yield from (up, status, seen, restarts, attempts, *times.values())
