"""Ranges of partition keys: exactly the wanted ones, few runs, nothing that must not be made."""

from hypothesis import given
from hypothesis import strategies as st

from genid_dagster_adapter.launching import BRIDGED, key_ranges

ORDER = [f"k{number}" for number in range(60)]


def nothing(key: str) -> bool:
    return False


def anything(key: str) -> bool:
    return True


@given(wanted=st.sets(st.sampled_from(ORDER)), harmless=st.sets(st.sampled_from(ORDER)))
def test_ranges_hold_every_wanted_key_and_no_other_but_harmless_ones(
    wanted: set[str], harmless: set[str]
) -> None:
    """Whatever the order: all of the wanted, none that must not be generated, no overlap."""
    covered: list[str] = []
    for start, end in key_ranges(ORDER, wanted, harmless.__contains__):
        covered += ORDER[ORDER.index(start) : ORDER.index(end) + 1]
    assert len(covered) == len(set(covered))
    assert wanted <= set(covered)
    assert set(covered) <= wanted | harmless


def test_a_key_with_content_is_taken_along() -> None:
    """One run instead of two."""
    assert key_ranges(ORDER, {"k1", "k3"}, anything) == [("k1", "k3")]
    assert key_ranges(ORDER, {"k1", "k3"}, nothing) == [("k1", "k1"), ("k3", "k3")]


def test_a_wide_gap_is_cheaper_as_two_runs() -> None:
    """Beyond the bound the events cost more than a run."""
    far = f"k{BRIDGED + 2}"
    assert key_ranges(ORDER, {"k0", far}, anything) == [("k0", "k0"), (far, far)]


def test_a_key_that_is_not_registered_is_left_out() -> None:
    """Dagster would refuse the run."""
    assert key_ranges(ORDER, {"k5", "unknown"}, nothing) == [("k5", "k5")]
