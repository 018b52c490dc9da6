"""How benchmarks are judged: by numbers that are given here, without measuring anything."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import attrs
import pytest
from benchmarks import harness
from benchmarks.harness import Case, Figure, judged, summed_up
from benchmarks.report import heading, machine, row, summary

CASE = Case(
    name="case",
    peer_name="peer",
    ours=lambda: None,
    peer=lambda: None,
    better="cost",
    goal=1.5,
    bound=2.0,
    rounds=3,
)


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take what a contender returns for the seconds that it took."""
    monkeypatch.setattr(harness, "timed", lambda call, *_: call())


def reporting(*seconds: float) -> Callable[[], float]:
    """Return a contender that reports these seconds in turn, the last of them ever after."""
    left = list(seconds)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def test_the_median_of_the_rounds_ratios_counts() -> None:
    """One round in which a neighbour slowed only ours moves nothing."""
    result = summed_up("t", CASE, {"ours": [1.2, 90.0, 2.4], "peer": [1.0, 1.0, 2.0]})
    assert result.ratio == pytest.approx(1.2)
    assert "goal" == result.verdict


def test_a_slow_phase_of_the_machine_moves_no_ratio() -> None:
    """Each round compares what ran side by side: the whole machine at a tenth changes nothing."""
    result = summed_up("t", CASE, {"ours": [1.8, 18.0, 180.0], "peer": [1.0, 10.0, 100.0]})
    assert result.ratio == pytest.approx(1.8)
    assert "within" == result.verdict


def test_speed_is_the_peer_over_ours() -> None:
    """`better="speed"` turns the ratio and the sense of goal and bound round."""
    case = attrs.evolve(CASE, better="speed", goal=1.3, bound=1.0)
    for ours, verdict in {1.1: "past", 1.0: "within", 0.8: "within", 0.5: "goal"}.items():
        result = summed_up("t", case, {"ours": [ours], "peer": [1.0]})
        assert result.ratio == pytest.approx(1 / ours)
        assert verdict == result.verdict


def test_contenders_take_turns_and_every_other_round_goes_backwards() -> None:
    """Neither always runs on what the other left in the caches."""
    calls: list[str] = []

    def contender(name: str) -> Callable[[], float]:
        def call() -> float:
            calls.append(name)
            return 1.0

        return call

    judged("t", attrs.evolve(CASE, ours=contender("A"), peer=contender("B")))
    assert ["A", "B", "B", "A", "A", "B"] == calls


def test_a_miss_is_measured_again_and_longer_before_it_counts() -> None:
    """A burst of load that is over the second time is forgotten; what lasts is past its bound."""
    burst = attrs.evolve(CASE, ours=reporting(9, 9, 9, 1), peer=reporting(1))
    assert ("goal", 2) == ((result := judged("t", burst)).verdict, result.measured)
    first_two = [9.0] * (3 + 6)  # rounds, and twice as many
    lasting = attrs.evolve(CASE, ours=reporting(*first_two, *[9] * 7, 1), peer=reporting(1))
    assert ("past", 3) == ((result := judged("t", lasting)).verdict, result.measured)


def test_a_figure_past_its_bound_is_measured_again_too() -> None:
    """Memory is judged with the same patience."""
    figure = Figure(name="memory", unit="MB", measure=reporting(500, 90), goal=100, bound=200)
    assert ("goal", 2) == ((result := judged("t", figure)).verdict, result.measured)


def test_the_clock_of_the_wall_is_never_judged() -> None:
    """What depends on the neighbours has no bound, in any module, and cannot be past it."""
    shown = summed_up("t", attrs.evolve(CASE, bound=None), {"ours": [99.0], "peer": [1.0]})
    assert "shown" == shown.verdict
    assert "not judged, 6500% from goal" == row(shown)[-1]
    for module in Path(harness.__file__).parent.glob("bench_*.py"):
        for call in re.findall(r"[cC]ase\((?:[^()]|\([^()]*\))*\)", module.read_text("utf-8")):
            assert '"wall"' not in call or "None" in call, f"{module.name}: {call}"


def test_processor_time_of_threads_and_processes_is_added_up() -> None:
    """The clocks that are judged never stand for the wall's."""
    assert {"all", "children"} == set(harness._CLOCKS) - {"wall"}
    assert harness._CLOCKS["all"]() >= harness._CLOCKS["children"]()


@pytest.mark.parametrize(
    ("better", "measured", "bound"),
    [("speed", 1.25, 1.0), ("speed", 2.4, 1.75), ("cost", 6.0, 8.0)],
    ids=["one id", "a grid", "an index"],
)
def test_a_planted_regression_by_half_is_found(
    better: Literal["speed", "cost"], measured: float, bound: float
) -> None:
    """Our times are multiplied, and the verdict turns from within the bound to past it."""
    case = attrs.evolve(CASE, better=better, goal=measured, bound=bound)
    ours, peer = (1.0, measured) if better == "speed" else (measured, 1.0)
    times = {"ours": [ours] * 3, "peer": [peer] * 3}
    assert ["goal", "past"] == [summed_up("t", case, times, by).verdict for by in (1, 1.5)]


def test_the_load_stands_beside_the_table() -> None:
    """A reader sees how busy the machine was."""
    text = heading({**machine(), "load": [4.2, 3.0, 1.5]}, "short")
    assert "Load over 1, 5 and 15 minutes: 4.2, 3.0, 1.5." in text


def test_the_summary_counts_every_verdict() -> None:
    """What is not judged is counted apart."""
    results = [
        summed_up("t", attrs.evolve(CASE, bound=bound), {"ours": [ours], "peer": [1.0]})
        for ours, bound in ((1, 2), (1.8, 2), (3, 2), (3, None))
    ]
    expected = "4 ratios: 1 at their goal, 1 within their bound, 1 past it, 1 not judged"
    assert expected == summary(results, [])


def test_make_test_judges_no_time(project: Path) -> None:
    """Nothing that `make test` runs measures; CI runs the short benchmarks after it."""
    text = (project / "Makefile").read_text("utf-8")
    recipes = dict(re.findall(r"^([a-z-]+):.*\n((?:\t.*\n)*)", text, re.M))
    assert "bench" not in recipes["test"] + recipes["lint"] + recipes["docs"]
    lines = (project / ".ci" / "run").read_text("utf-8").split("\n")
    assert lines.index("make test") < lines.index("make bench-short")


def test_the_readmes_six_numbers_are_those_of_the_whole_table(project: Path) -> None:
    """Each of them stands in benchmarks/results.md, beside the same case and peer."""
    section = (project / "README.md").read_text("utf-8").partition("\n## Measured\n")[2]
    shown = re.findall(r"^\|[^|]+\| ([^|]+) \| ([^|]+) \| ([\d.]+x) \|$", section, re.M)
    assert 6 == len(shown)
    table = (project / "benchmarks" / "results.md").read_text("utf-8")
    rows = {tuple(cell.strip() for cell in line.split("|"))[2:8] for line in table.split("\n")}
    whole = {(cells[0], cells[1], cells[5]) for cells in rows if len(cells) == 6}
    assert set() == set(shown) - whole
