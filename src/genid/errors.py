"""What this package raises: one base, one subclass for each kind of input."""

import attrs

_SHOWN = 80  # characters of a refused value that a message repeats
_LISTED = 20  # problems that a message lists; `problems` has them all


def shown(value: object) -> str:
    """Return `repr(value)`, cut to a length that suits a message."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write out an integer of more than 4,300 digits
        return f"a value of type {type(value).__name__}, too large to show,"
    if len(text) <= _SHOWN:
        return text
    size = f", {len(value)} characters" if isinstance(value, str) else ""
    return f"{text[:_SHOWN]}… ({type(value).__name__}{size})"


@attrs.frozen(kw_only=True)
class Problem:
    """One refused value: where it is, what it is, why it is refused, what to do."""

    place: str
    value: object
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: {shown(self.value)} {self.reason}; {self.remedy}"


def refusal(place: str, value: object, reason: str, remedy: str) -> Problem:
    """Return the record of one refused value."""
    return Problem(place=place, value=value, reason=reason, remedy=remedy)


class GenIdError(ValueError):
    """Base of everything that this package raises.

    `problems` holds one record for each refused value, and at least one.
    """

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = problems

    @classmethod
    def of(cls, place: str, value: object, reason: str, remedy: str) -> "GenIdError":
        """Return the error of one refused value."""
        return cls(refusal(place, value, reason, remedy))

    def __str__(self) -> str:
        lines = [str(one) for one in self.problems[:_LISTED]]
        if len(self.problems) == 1:
            return lines[0]
        more = len(self.problems) - len(lines)
        last = [f"  … and {more} more"] if more else []
        first = f"{len(self.problems)} problems:"
        return "\n".join([first, *(f"  {line}" for line in lines), *last])


class SignatureError(GenIdError):
    """A field of a signature, or a reference, breaks a rule of SPEC 1."""


class DeclarationError(GenIdError):
    """A signature class is declared in a way that could not give reliable ids."""


class SchemeError(GenIdError):
    """A scheme is unknown, or cannot express the signature that it was given."""


class ColumnError(GenIdError):
    """Rows of a table are not signatures; every bad value is listed with its row and column."""


class ParseError(GenIdError):
    """A text is not an id of the expected family (SPEC 5 and 7)."""
