"""What Prometheus reads. Counts of this process, and what the shared tables say at the moment of the question."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .database import now

if TYPE_CHECKING:
    from .service import JobService
    from .webhooks import WebhookSender

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30)


class Metrics:
    """One gateway's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.accepted = Counter("flf2v_jobs_accepted", "Jobs accepted by this gateway", ["api"], registry=self.registry)
        self.requests = Counter(
            "flf2v_requests", "Requests by address and status", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "flf2v_request_seconds", "Time to answer", ["path"], buckets=_SECONDS, registry=self.registry
        )

    def watch(self, service: JobService, webhooks: WebhookSender) -> None:
        """Also tell what the tables say."""
        self.registry.register(_Tables(service, webhooks))

    def text(self) -> bytes:
        """Everything, in Prometheus' text format. Reads the database."""
        return generate_latest(self.registry)


class _Tables(Collector):
    def __init__(self, service: JobService, webhooks: WebhookSender) -> None:
        self._service, self._webhooks = service, webhooks

    def describe(self) -> Iterator[Metric]:
        return iter(())  # no question to the database at registration

    def collect(self) -> Iterator[Metric]:
        counts = self._service.jobs.counts()
        jobs = GaugeMetricFamily("flf2v_jobs", "Jobs kept here, by state", labels=["state"])
        for state in ("queued", "running", "succeeded", "failed", "cancelled"):
            jobs.add_metric([state], counts.get(state, 0))
        yield jobs
        oldest = self._service.jobs.oldest_queued()
        yield GaugeMetricFamily("flf2v_queue_depth", "Jobs that wait", value=counts.get("queued", 0))
        yield GaugeMetricFamily(
            "flf2v_queue_age_seconds",
            "Wait of the oldest queued job",
            value=max(0.0, now() - oldest) if oldest else 0.0,
        )
        living = self._service.workers.living()
        up = GaugeMetricFamily("flf2v_worker_up", "Workers whose ComfyUI answers", labels=["worker"])
        restarts = GaugeMetricFamily("flf2v_worker_restarts", "Restarts of a worker's ComfyUI", labels=["worker"])
        for worker in living:
            up.add_metric([worker.id], float(worker.able))
            restarts.add_metric([worker.id], worker.restarts)
        yield from (up, restarts)
        number, age = self._webhooks.waiting()
        yield GaugeMetricFamily("flf2v_webhooks_waiting", "Webhooks to deliver", value=number)
        yield GaugeMetricFamily("flf2v_webhook_age_seconds", "Age of the oldest of them", value=age)
