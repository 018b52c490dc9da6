"""The rollout flag's grammar, exactly."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genid_store.errors import StoreError
from genid_store.ids.rollout import FLAG, SCHEME, Rollout

ACCEPTED = {
    "": "off",
    "0": "off",
    "false": "off",
    "no": "off",
    "off": "off",
    " OFF\n": "off",
    "\t": "off",
    "1": "all",
    "true": "all",
    "yes": "all",
    "on": "all",
    "\tTrue ": "all",
    "draft": "draft",
    "Draft": "draft",
    "draft,draft": "draft",
    "draft,essay": "draft,essay",
    "essay,draft": "draft,essay",
    " essay , DRAFT ": "draft,essay",
    "draft,essay,evaluation": "all",
    "evaluation,draft,essay,draft": "all",
}
REFUSED = [
    "essay",
    "evaluation",
    "draft,evaluation",
    "essay,evaluation",
    "drafts",
    "all",
    "none",
    "null",
    "2",
    "-1",
    "00",
    "01",
    "1,0",
    "true,draft",
    "draft,on",
    "draft,",
    ",draft",
    ",",
    "draft,,essay",
    "draft essay",
    "draft;essay",
    "draft+essay",
    "ｏｎ",  # noqa: RUF001
    "\u00a0on",
    "of f",
    "draft\0",
    "x" * 10_000,
]


@pytest.mark.parametrize(("flag", "label"), ACCEPTED.items())
def test_accepted_values_mean_what_the_contract_says(flag: str, label: str) -> None:
    """Trimmed, ASCII case ignored, stages in any order, repeats harmless."""
    assert label == Rollout.parse(flag).label


@pytest.mark.parametrize("flag", REFUSED)
def test_any_other_value_is_an_error_that_lists_the_accepted_ones(flag: str) -> None:
    """A typo never means off."""
    with pytest.raises(StoreError) as caught:
        Rollout.parse(flag)
    [problem] = caught.value.problems
    assert FLAG == problem.where
    for accepted in ("unset", "0, false, no, off", "1, true, yes, on", "draft,essay,evaluation"):
        assert accepted in problem.remedy


@pytest.mark.parametrize(
    ("flag", "missing"),
    [("essay", "draft"), ("evaluation", "draft"), ("draft,evaluation", "essay")],
)
def test_a_stage_without_its_parents_says_why(flag: str, missing: str) -> None:
    """The error names the stage that is missing and the reason."""
    if flag == "evaluation":
        missing = "essay"
    with pytest.raises(StoreError, match=f"without {missing}.*derived from its {missing}'s"):
        Rollout.parse(flag)


def test_unset_is_off() -> None:
    """None and absence are what an empty variable is."""
    assert Rollout.OFF == Rollout.parse(None)
    assert Rollout.OFF == Rollout.from_env({})


@pytest.mark.parametrize(
    ("text", "scheme"),
    [(None, "v1"), ("", "v1"), ("v1", "v1"), (" V1 ", "v1"), ("phase-1", "phase-1")],
)
def test_the_scheme_is_v1_unless_phase_1_is_named(text: str | None, scheme: str) -> None:
    """Also where the flag is off."""
    assert scheme == Rollout.parse(None, text).scheme
    assert scheme == Rollout.parse("on", text).scheme


@pytest.mark.parametrize("flag", ["", "off", "on", "draft"])
@pytest.mark.parametrize("text", ["v2", "phase1", "phase_1", "legacy", "v1,phase-1", "0"])
def test_an_unknown_scheme_is_an_error_even_with_the_flag_off(flag: str, text: str) -> None:
    """A typo shows before the day on which the flag is switched on."""
    with pytest.raises(StoreError, match=f"{SCHEME}: is not a scheme"):
        Rollout.parse(flag, text)


def test_both_variables_that_are_wrong_are_named_at_once() -> None:
    with pytest.raises(StoreError) as caught:
        Rollout.parse("essay", "v9")
    assert [FLAG, SCHEME] == [one.where for one in caught.value.problems]


def test_the_environment_is_read_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument the process's variables count."""
    monkeypatch.setenv(FLAG, "draft")
    monkeypatch.setenv(SCHEME, "phase-1")
    assert Rollout(stages=("draft",), scheme="phase-1") == Rollout.from_env(os.environ)


@pytest.mark.parametrize("stages", [("essay",), ("essay", "draft"), ("draft", "draft"), ("x",)])
def test_a_state_that_is_not_closed_cannot_be_made(stages: tuple[str, ...]) -> None:
    """The record holds the same states as the flag."""
    with pytest.raises(StoreError):
        Rollout(stages=stages)


def test_every_label_but_all_parses_back_to_its_state() -> None:
    """Labels are what an operator would write; "all" is written true."""
    for flag in ("", "draft", "draft,essay"):
        state = Rollout.parse(flag)
        assert state == Rollout.parse(state.label)


@given(st.text(max_size=40) | st.lists(st.sampled_from(["draft", "essay", "on", ""])).map(",".join))
def test_any_text_is_a_state_or_the_documented_error(text: str) -> None:
    """Nothing else is ever raised."""
    try:
        state = Rollout.parse(text, text)
    except StoreError:
        return
    assert state.label in {"off", "draft", "draft,essay", "all"}
