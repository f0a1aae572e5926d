"""The figures of a server as Prometheus reads them; imports `metrics` and prometheus-client.

That is the extra ``metrics``, so that only a server that is asked for the text imports this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from .metrics import BUCKETS, Figures


def exposition(figures: Figures) -> tuple[bytes, bytes]:
    """The figures in Prometheus' text format, from a registry of their own.

    Args:
        figures: those of now.

    Returns:
        The content type and the body.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(figures))
    return CONTENT_TYPE_LATEST.encode(), generate_latest(registry)


class _Once(Collector):
    """Metrics of one moment; they change without the registry knowing."""

    def __init__(self, now: Figures) -> None:
        self._now = now

    def collect(self) -> Iterator[Metric]:
        now = self._now
        counters, store = now.counters, now.store

        def gauge(name: str, text: str, value: float) -> Metric:
            return GaugeMetricFamily(f"wscore_chat_{name}", text, value)

        yield gauge("connections", "WebSocket connections that are open", counters.open)
        yield gauge("rooms", "Rooms with somebody present", now.rooms)
        yield gauge("queue_bytes", "Bytes that wait to be sent, on all connections", now.queued)
        yield gauge("store_available", "1 if the last write was stored", store.is_available)
        engine = GaugeMetricFamily(
            "wscore_chat_engine_info", "What keeps the messages", labels=["engine"]
        )
        engine.add_metric([store.health().engine], 1)
        yield engine
        yield gauge("start_time_seconds", "When the server started, since 1970", now.started)
        for name, label, text, counts in (
            ("messages", "kind", "Messages stored", store.messages),
            ("closed", "code", "Connections that ended, by close code", counters.closed),
            ("cuts", "reason", "Connections that were cut, by reason", counters.cut),
            ("refused", "status", "Requests that became no connection", counters.refused),
        ):
            yield _counter(name, text, counts, label)
        for name, text, count in (
            ("accepted", "Connections accepted", counters.accepted),
            ("handshakes_lost", "Requests that went away", counters.handshakes_lost),
            ("handshake_timeouts", "Requests that took too long", counters.handshake_timeouts),
            ("handler_errors", "Mistakes of the server", counters.handler_errors),
            ("commit_failures", "Batches that were not stored", store.failures),
        ):
            yield _counter(name, text, {"": count})
        yield HistogramMetricFamily(
            "wscore_chat_commit_seconds",
            "How long storing a batch took",
            buckets=list(_cumulative(store.buckets)),
            sum_value=store.seconds,
        )


def _counter(
    name: str, text: str, counts: Mapping[Any, int], label: str | None = None
) -> CounterMetricFamily:
    labels = [] if label is None else [label]
    family = CounterMetricFamily(f"wscore_chat_{name}", text, labels=labels)
    for value, count in counts.items():
        family.add_metric([str(value)] if labels else [], count)
    return family


def _cumulative(buckets: Sequence[int]) -> Iterator[tuple[str, float]]:
    total = 0
    for bound, count in zip((*map(str, BUCKETS), "+Inf"), buckets, strict=True):
        total += count
        yield bound, total
