"""What a run is asked for beyond what is missing."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from genid_store.generation.status import State


@frozen(kw_only=True)
class Asked:
    """What a run is asked for beyond what is missing: to try again what failed, to ask again for
    what could not be parsed, to pay for legacy members whose task is there and for those whose text
    is out of reach, or to give legacy members that text; to call nobody (`reuse_only`); at most how
    many calls (None: any number)."""

    retry_failed: bool = False
    retry_unparsed: bool = False
    pay_again: bool = False
    reuse: bool = False
    reuse_only: bool = False
    max_calls: int | None = None

    def takes(self, state: State) -> bool:
        """Say whether members of a state are to be obtained."""
        asked: Mapping[State, bool] = {
            "missing": True,
            "failed": self.retry_failed,
            "unparsed": self.retry_unparsed,
        }
        return asked.get(state, False)
