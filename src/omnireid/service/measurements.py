"""What the service counts of itself and of its process, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 24, 32, 64)


class Measurements:
    """Counters of one service, in a registry of their own, so that several services fit into a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, processor time and open files, on Linux
        self.open = Gauge("omnireid_requests_open", "Requests without an answer yet.", registry=self.registry)
        self.requests = Counter(
            "omnireid_requests", "Answered requests.", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "omnireid_request_seconds", "Time to an answer.", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self.refused = Counter(
            "omnireid_refused", "Refused requests, by class of the error.", ["code"], registry=self.registry
        )
        self.batch_crops = Histogram(
            "omnireid_batch_crops", "Crops in a batch of the network.", buckets=_SIZES, registry=self.registry
        )
        self.write_group = Histogram(
            "omnireid_write_group", "Crops that one write of the gallery added.", buckets=_SIZES, registry=self.registry
        )
        self.decision_group = Histogram(
            "omnireid_decision_group",
            "Decisions that one write of the gallery took.",
            buckets=_SIZES,
            registry=self.registry,
        )

    def text(self) -> bytes:
        """Everything in the format of Prometheus."""
        return generate_latest(self.registry)
