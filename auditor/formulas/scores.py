"""What one call of an attention kernel costs, once its sizes are known; it registers nothing."""

from __future__ import annotations

from dataclasses import dataclass

from auditor.formulas.sizes import multiply_adds
from auditor.operations import Amount
from auditor.tally import Shape

_SOFTMAX_OPS, _SOFTMAX_BACKWARD_OPS, _SOFTMAX_REPEATED_OPS = 6, 5, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """One call of any kernel: its sizes, how many of its scores are masked, whether they have a bias."""

    query: Shape
    batch_heads: int
    queries: int
    keys: int
    key_width: int
    value_width: int
    masked: int = 0  # of one head's scores
    biased: bool = False

    @property
    def scores(self) -> int:
        """All scores, masked or not."""
        return self.batch_heads * self.queries * self.keys

    def _products(self, width: int, scores: int) -> int:
        return multiply_adds(scores * width, self.query)

    def forward(self) -> Amount:
        """Scores and result."""
        width = self.key_width + self.value_width
        return Amount(
            self._products(width, self.scores),
            0,
            self._products(width, self.batch_heads * self.masked),
        )

    def backward(self) -> Amount:
        """Four gradients, and the scores once more."""
        once = self.forward()
        repeated = self._products(self.key_width, self.scores)
        return Amount(2 * once.algorithmic_ops, repeated, 2 * once.skippable_ops)

    def softmax(self) -> Amount:
        """What turns scores into weights."""
        each = _SOFTMAX_OPS + self.biased
        return Amount(each * self.scores, 0, each * self.batch_heads * self.masked)

    def softmax_backward(self) -> Amount:
        """The gradient through the weights, and the weights once more."""
        return Amount(
            _SOFTMAX_BACKWARD_OPS * self.scores,
            (_SOFTMAX_REPEATED_OPS + self.biased) * self.scores,
            _SOFTMAX_BACKWARD_OPS * self.batch_heads * self.masked,
        )


def masked_scores(queries: int, keys: int, before: int | None, after: int | None, shift: int = 0) -> int:
    """Of all scores, those outside the window ``i + shift - before .. i + shift + after`` of query i.

    ``None`` leaves a side open; ``shift`` is ``keys - queries`` where the last query sees the last key.
    """
    seen = 0
    for query in range(queries):
        first = 0 if before is None else max(query + shift - before, 0)
        last = keys - 1 if after is None else min(query + shift + after, keys - 1)
        seen += max(last - first + 1, 0)
    return queries * keys - seen
