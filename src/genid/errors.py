"""The errors that this package raises: one base, and a subclass for each kind of input."""

from typing import Final

import attrs


class _NoValue:
    """The type of `NO_VALUE`, which `None` cannot replace because it is a value too."""

    def __repr__(self) -> str:
        return "NO_VALUE"

    def __reduce__(self) -> str:
        return "NO_VALUE"  # another process gets its own one


NO_VALUE: Final = _NoValue()
_SHOWN = 80  # characters of a refused value that a message repeats
_LISTED = 20  # problems that a message lists; `problems` has them all


def shown(value: object) -> str:
    """Return `repr(value)`, shortened for a message."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print an integer of more than 4,300 digits
        return f"a value of type {type(value).__name__}, too large to show,"
    if len(text) <= _SHOWN:
        return text
    size = f", {len(value)} characters" if isinstance(value, str) else ""
    return f"{text[:_SHOWN]}… ({type(value).__name__}{size})"


@attrs.frozen(kw_only=True)
class Problem:
    """One refused value: its place, the value, why it is refused, what to do about it.

    Where something is missing, `value` is `NO_VALUE`.
    """

    place: str
    value: object
    reason: str
    remedy: str

    def __str__(self) -> str:
        value = "" if self.value is NO_VALUE else f"{shown(self.value)} "
        return f"{self.place}: {value}{self.reason}; {self.remedy}"


def refusal(place: str, value: object, reason: str, remedy: str) -> Problem:
    """Return the problem of one refused value."""
    return Problem(place=place, value=value, reason=reason, remedy=remedy)


class GenIdError(ValueError):
    """Base of this package's errors; `problems` holds one or more, one for each refused value."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = problems

    @classmethod
    def of(cls, place: str, value: object, reason: str, remedy: str) -> "GenIdError":
        """Return an error with one problem."""
        return cls(refusal(place, value, reason, remedy))

    def __str__(self) -> str:
        count = len(self.problems)
        if count == 1:
            return str(self.problems[0])
        lines = [f"{count} problems:", *(f"  {problem}" for problem in self.problems[:_LISTED])]
        if count > _LISTED:
            lines.append(f"  … and {count - _LISTED} more")
        return "\n".join(lines)


class SignatureError(GenIdError):
    """A field of a signature or a reference breaks a rule of SPEC 1."""


class DeclarationError(GenIdError):
    """A signature class is declared in a way that could not give reliable ids (SPEC 1.7)."""


class SchemeError(GenIdError):
    """A scheme is unknown, or cannot express the signature (SPEC 8.2)."""


class ColumnError(GenIdError):
    """A table has rows that are not signatures, or columns that cannot hold them (SPEC 1)."""


class ParseError(GenIdError):
    """A text is not an id of the expected family (SPEC 5.3, 7)."""
