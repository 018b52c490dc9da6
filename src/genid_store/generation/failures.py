"""Records of failed generations, on disk, so that every way of starting a run agrees.

One JSON file per failed generation, `.genid/failures/<stage>/<gen_id>.json`; it is removed when the
generation is made. The automation condition, `cohort status` and `cohort run` read it here.
"""

from __future__ import annotations

import datetime
from typing import Final

from attrs import frozen

from genid_store.fs.jsonfile import read_json
from genid_store.fs.layout import DataRoot
from genid_store.fs.slots import forget_record, record_path, recorded_ids, write_record
from genid_store.stages import stage_names

_KIND: Final = "failures"


@frozen(kw_only=True)
class Failure:
    """The last failure of one generation: why, when (UTC, ISO 8601), and how often so far."""

    stage: str
    gen_id: str
    reason: str
    at: str
    attempts: int


def record(root: DataRoot, stage: str, gen_id: str, reason: str) -> None:
    """Record one more failure of a generation.

    Raises:
        OSError: it cannot be written.
        StoreError: `gen_id` is not an id, or a symbolic link leads out of the data root.
    """
    before = read(root, stage, gen_id)
    failure = Failure(
        stage=stage,
        gen_id=gen_id,
        reason=reason,
        at=datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds"),
        attempts=1 + (before.attempts if before else 0),
    )
    # Not synced: if a power cut loses the record, the generation is retried, which costs one call.
    write_record(root, _KIND, failure, durable=False)


def read(root: DataRoot, stage: str, gen_id: str) -> Failure | None:
    """Return the last failure of a generation; None if it did not fail. A record that cannot be
    read counts as a failure, with that as its reason."""
    path = record_path(root, _KIND, stage, gen_id)
    try:
        failure = Failure(**read_json(path))
        if type(failure.attempts) is int and {type(failure.reason), type(failure.at)} == {str}:
            return failure
        cause = "genid did not write it"
    except FileNotFoundError:
        return None
    except OSError as error:
        cause = error.strerror or str(error)
    except (ValueError, TypeError) as error:
        cause = str(error)
    reason = f"the failure's record cannot be read: {root.relative(path)}: {cause}"
    return Failure(stage=stage, gen_id=gen_id, reason=reason, at="", attempts=1)


def read_all(root: DataRoot) -> dict[tuple[str, str], Failure]:
    """Return every failure on record by (stage, id). A later record differs in `attempts`, even if
    the clocks of the machines disagree."""
    failures = {}
    for stage in stage_names():
        for gen_id in recorded_ids(root, _KIND, stage):
            if (failure := read(root, stage, gen_id)) is not None:
                failures[stage, gen_id] = failure
    return failures


def forget(root: DataRoot, stage: str, gen_id: str) -> None:
    """Remove the record of a generation, if it has one."""
    forget_record(root, _KIND, stage, gen_id)


def failed_ids(root: DataRoot, stage: str) -> frozenset[str]:
    """Return the ids of one stage with a failure on record, from one listing."""
    return frozenset(recorded_ids(root, _KIND, stage))
