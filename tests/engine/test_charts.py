"""The layout of charts: values are where arithmetic puts them, and ticks are round numbers."""

from __future__ import annotations

import math

import pytest

from capfw.core.engine.observing.charts import FRAME, Chart, line_chart, means


def chart_of(values: dict[int, float], best: int | None = None) -> Chart:
    chart = line_chart(values, title="Loss by step", x="step", y="nats", best=best)
    assert chart is not None
    return chart


def test_values_lie_between_the_edges_in_proportion() -> None:
    chart = chart_of({10: 4.0, 30: 0.0, 20: 1.0})
    width, height = FRAME.right - FRAME.left, FRAME.bottom - FRAME.top
    assert list(chart.line) == [
        (FRAME.left, FRAME.top),
        (FRAME.left + width / 2, FRAME.top + height * 3 / 4),
        (FRAME.right, FRAME.bottom),
    ]
    assert [dot.label for dot in chart.dots] == ["step 10: 4", "step 20: 1", "step 30: 0"]
    assert [(tick.y, tick.label) for tick in chart.y_ticks] == [
        (FRAME.bottom - height * n / 4, str(n)) for n in range(5)
    ]
    assert [(tick.x, tick.label) for tick in chart.x_ticks] == [
        (FRAME.left + width * n / 4, str(10 + 5 * n)) for n in range(5)
    ]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.565, 0.526], ["0.52", "0.53", "0.54", "0.55", "0.56", "0.57"]),
        ([2.759, 3.422], ["2.6", "2.8", "3.0", "3.2", "3.4", "3.6"]),
        ([-1.0, 1.0], ["-1.0", "-0.5", "0.0", "0.5", "1.0"]),
        ([0.00001, 0.00003], ["1e-05", "1.5e-05", "2e-05", "2.5e-05", "3e-05"]),
        ([0.0, 4_000_000.0], ["0", "1e+06", "2e+06", "3e+06", "4e+06"]),
        ([12_000.0, 16_000.0], ["12,000", "13,000", "14,000", "15,000", "16,000"]),
    ],
)
def test_ticks_are_round_numbers_around_the_values(values: list[float], labels: list[str]) -> None:
    assert [tick.label for tick in chart_of(dict(enumerate(values))).y_ticks] == labels


@pytest.mark.parametrize("value", [0.0, 0.7, -3.0, 1e9])
def test_a_single_value_is_a_dot_inside_the_plot(value: float) -> None:
    [dot] = chart_of({1: value}).dots
    assert FRAME.left < dot.x < FRAME.right
    assert FRAME.top <= dot.y <= FRAME.bottom
    assert [tick.label for tick in chart_of({1: value}).x_ticks] == ["1"]


def test_places_are_whole_numbers() -> None:
    assert [tick.label for tick in chart_of({1: 0.5, 2: 0.6}).x_ticks] == ["1", "2"]
    far = [tick.label for tick in chart_of({1: 0.5, 450_000: 0.6}).x_ticks]
    assert far == ["100,000", "200,000", "300,000", "400,000"]


def test_best_is_marked_only_where_it_has_a_value() -> None:
    best = chart_of({1: 0.5, 2: 0.6}, best=2).best
    assert best is not None
    assert (best.x, best.label) == (FRAME.right, "step 2: 0.6")
    assert chart_of({1: 0.5, 2: 0.6}, best=3).best is None


def test_values_that_are_no_numbers_are_counted_and_not_drawn() -> None:
    chart = chart_of({1: 0.5, 2: math.nan, 3: math.inf, 4: 0.6})
    assert [dot.label for dot in chart.dots] == ["step 1: 0.5", "step 4: 0.6"]
    assert chart.note == "2 values are no numbers and are not shown."
    assert chart_of({1: 0.5}).note is None
    assert line_chart({1: math.nan}, title="", x="", y="") is None
    assert line_chart({}, title="", x="", y="") is None


def test_description_has_first_last_lowest_and_highest_value() -> None:
    assert chart_of({1: 2.5, 2: 3.0, 3: 0.25, 1000: 1.0}).description == (
        "Loss by step: 2.5 at step 1, 1 at step 1,000; lowest 0.25 at step 3, highest 3 at step 2."
    )


def test_many_values_are_a_line_without_dots() -> None:
    chart = chart_of({i: float(i) for i in range(61)})
    assert len(chart.line) == 61
    assert chart.dots == []


def test_means_of_neighbours_stand_at_the_last_of_their_places() -> None:
    values = {10: 1.0, 20: 3.0, 30: 5.0, 40: 7.0, 50: 9.0}
    assert means(values, 5) == (values, 1)
    assert means(values, 3) == ({20: 2.0, 40: 6.0, 50: 9.0}, 2)
    assert means({}, 3) == ({}, 1)
