"""One figure in one call."""

from __future__ import annotations

from typing import Any

import numpy as np
import obvious
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from threecad.errors import ThreecadError
from threecad.metrics import aupro, auroc, average_precision, best_f1

PAIRS = st.lists(st.tuples(st.floats(-1e300, 1e300) | st.sampled_from([0.0, -0.0, 0.5]), st.booleans()), min_size=1, max_size=40)


@given(PAIRS)
def test_figures_are_those_of_scikit_learn_and_a_loop(pairs: list[tuple[float, bool]]) -> None:
    scores = np.array([score for score, _ in pairs] + [0.25, 0.75])
    labels = np.array([label for _, label in pairs] + [True, False])
    assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(scores, labels) == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    assert best_f1(scores, labels) == obvious.best_f1(scores, labels)


def test_scores_may_have_any_shape_and_labels_any_type() -> None:
    scores, labels = np.arange(12.0).reshape(3, 4), np.arange(12).reshape(3, 4) % 3
    assert auroc(scores, labels) == roc_auc_score(labels.reshape(-1) != 0, scores.reshape(-1))
    assert auroc(scores.tolist(), labels * 255) == auroc(scores, labels)


def test_infinite_scores_are_in_their_order() -> None:
    assert auroc([-np.inf, 0, np.inf], [0, 0, 1]) == 1


@pytest.mark.parametrize(
    ("scores", "labels", "sentence"),
    [
        ([1.0, 2.0], [0, 0], "all 2 labels are negative"),
        ([1.0, 2.0], [1, 1], "all 2 labels are positive"),
        ([], [], "all 0 labels"),
        ([1.0, 2.0], [1], "2 scores and 1 labels"),
        ([1.0, np.nan], [1, 0], "score 1 is NaN"),
        (["a"], [1], "scores holds values of type <U1"),
    ],
)
def test_what_cannot_be_measured_is_refused(scores: Any, labels: Any, sentence: str) -> None:
    for figure in (auroc, average_precision, best_f1):
        with pytest.raises(ThreecadError, match=sentence):
            figure(scores, labels)


def test_aupro_without_regions_is_refused() -> None:
    with pytest.raises(ThreecadError, match="no pixel is anomalous"):
        aupro(np.zeros((2, 2)), np.zeros((2, 2)))
