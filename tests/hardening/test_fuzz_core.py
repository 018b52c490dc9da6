"""Anything at all can be given to the core: it answers, or raises `GenIdError` naming the field."""

import string
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from genid import (
    SCHEMES,
    STAGES,
    Draft,
    GenIdError,
    ParseError,
    SignatureError,
    canonical_bytes,
    gen_id,
    is_gen_id,
    normalize_component,
    parse_id,
    parse_v1,
    scheme,
)
from hardening_kit import attempt, fuzzed, json_values, nasty_texts

ANYTHING = st.one_of(
    json_values,
    st.binary(max_size=5),
    st.complex_numbers(),
    st.just(object()),
    st.builds(type("Text", (str,), {}), st.just("subclass")),
    st.builds(type("Number", (int,), {}), st.just(1)),
)
NEAR_IDS = st.one_of(
    nasty_texts,
    st.text(alphabet=string.ascii_letters + string.digits + "_.-|", max_size=40),
    st.from_regex(r"[a-zA-Z]_[0-9a-z]{26}\n?", fullmatch=True),
)


@fuzzed()
@given(text=NEAR_IDS | ANYTHING)
def test_a_text_is_an_id_or_a_parse_error(text: Any) -> None:
    """Whatever is parsed comes back with its family, or is refused; never another exception."""
    found, error = attempt(ParseError, lambda: parse_id(text))
    if error is not None:
        assert ("id", False) == (error.problems[0].place, is_gen_id(text))
        return
    assert found is not None
    assert (text, 1, True) == (found.text, len(found.text.split("/")), found.text.isprintable())


@fuzzed()
@given(text=NEAR_IDS | ANYTHING)
def test_strict_parsing_accepts_what_is_gen_id_accepts(text: Any) -> None:
    """`parse_v1` and `is_gen_id` agree on every value, and the UUID is of version 8."""
    found, error = attempt(ParseError, lambda: parse_v1(text))
    assert is_gen_id(text) == (error is None)
    if found is not None:
        assert found.uuid is not None
        assert (8, 28, text) == (found.uuid.version, len(text), found.text)


@fuzzed()
@given(stage=st.sampled_from(sorted(STAGES)), data=st.data())
def test_a_signature_is_sound_or_refused_with_every_bad_field(
    stage: str, data: st.DataObject
) -> None:
    """Fields of any type make a signature that holds them, or one error that names all bad ones."""
    cls: Any = STAGES[stage]
    sound = {name: 1 if name == "replicate" else "x" for name in cls.__annotations__}
    tried = {name: data.draw(ANYTHING) for name in sound if data.draw(st.booleans())}
    bad = set()
    for name, value in tried.items():
        _, error = attempt(SignatureError, partial(cls, **{**sound, name: value}))
        if error is not None:
            assert [f"{stage}.{name}"] == [problem.place for problem in error.problems]
            bad.add(f"{stage}.{name}")
    signature, error = attempt(SignatureError, partial(cls, **{**sound, **tried}))
    if error is not None:
        assert bad == {problem.place for problem in error.problems}
        assert all(problem.remedy and problem.reason for problem in error.problems)
        return
    assert signature is not None
    assert set() == bad
    for name, value in signature.fields().items():
        assert type(value) is type(sound[name])
        assert str(value).encode() in canonical_bytes(signature)


@fuzzed()
@given(text=NEAR_IDS | ANYTHING)
def test_a_component_is_normalized_once(text: Any) -> None:
    """A component that is accepted normalizes to itself, and is lower-case ASCII."""
    once, error = attempt(SignatureError, lambda: normalize_component(text))
    if error is None:
        assert once is not None
        assert (once, True) == (normalize_component(once), once.isascii())
        assert (once.lower(), True) == (once, 1 <= len(once) <= 255)


@fuzzed()
@given(value=ANYTHING)
def test_no_value_is_a_scheme_but_a_schemes_name(value: Any) -> None:
    """`scheme` and `gen_id` refuse what they do not know with the package's own error."""
    signature = Draft(combo_id="c", template_id="t", llm_model_id="m", replicate=1)
    for call in (lambda: scheme(value), lambda: gen_id(signature, value)):
        _, error = attempt(GenIdError, call)
        assert (type(value) is str and value in SCHEMES) == (error is None)
