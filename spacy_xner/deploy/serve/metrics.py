"""Counters of the service as Prometheus reads them.

SOURCE: https://prometheus.io/docs/instrumenting/exposition_formats/, text format 0.0.4.
"""

import threading
from collections import Counter

# Upper bounds of the seconds that requests take.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts requests, texts and batches; may be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[int] = Counter()
        self._within: Counter[float] = Counter()
        self._seconds = self._pipeline_seconds = 0.0
        self._n_texts = self._n_batches = 0

    def count_request(self, status: int, seconds: float) -> None:
        """Count an answer of the endpoint."""
        with self._lock:
            self._requests[status] += 1
            self._seconds += seconds
            self._within.update(bound for bound in BOUNDS if seconds <= bound)

    def count_batch(self, n_texts: int, seconds: float) -> None:
        """Count a batch that the pipeline has read."""
        with self._lock:
            self._n_batches += 1
            self._n_texts += n_texts
            self._pipeline_seconds += seconds

    def render(self, n_waiting: int) -> str:
        """Write all metrics. n_waiting: Texts that wait for the pipeline."""
        with self._lock:
            total = sum(self._requests.values())
            counts = sorted(self._requests.items())
            statuses = [f'xner_requests_total{{status="{status}"}} {n}' for status, n in counts]
            buckets = [
                f'xner_request_seconds_bucket{{le="{bound}"}} {self._within[bound]}' for bound in BOUNDS
            ]
            lines = [
                *_head("xner_requests_total", "counter", "Answers of the endpoint by HTTP status."),
                *statuses,
                *_head("xner_request_seconds", "histogram", "Seconds until the answer."),
                *buckets,
                f'xner_request_seconds_bucket{{le="+Inf"}} {total}',
                f"xner_request_seconds_sum {self._seconds:.6f}",
                f"xner_request_seconds_count {total}",
                *_head("xner_texts_total", "counter", "Texts that the pipeline has read."),
                f"xner_texts_total {self._n_texts}",
                *_head("xner_batches_total", "counter", "Batches that the pipeline has read."),
                f"xner_batches_total {self._n_batches}",
                *_head("xner_pipeline_seconds_total", "counter", "Seconds within the pipeline."),
                f"xner_pipeline_seconds_total {self._pipeline_seconds:.6f}",
                *_head("xner_texts_waiting", "gauge", "Texts that wait for the pipeline."),
                f"xner_texts_waiting {n_waiting}",
            ]
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"
