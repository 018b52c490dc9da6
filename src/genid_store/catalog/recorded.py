"""What a cohort's manifest records of its last build: the only reader of manifest.json."""

from __future__ import annotations

from attrs import field, frozen

from genid_store.errors import StoreError
from genid_store.fs.files import read_bytes
from genid_store.fs.jsonfile import load_object
from genid_store.fs.layout import DataRoot
from genid_store.ids.rollout import Rollout


@frozen(kw_only=True)
class Recorded:
    """The rollout of a cohort's last build, None if the manifest has a `flaw`.

    `stated` is whether the manifest names a rollout. If genid built the cohort and it names none,
    the rollout was off; in a host's manifest, its absence says nothing.
    """

    rollout: Rollout | None = None
    stated: bool = field(default=False, eq=False)
    flaw: str = field(default="", eq=False)


def read_recorded(root: DataRoot, cohort_id: str) -> Recorded | None:
    """Return what a cohort's manifest says of its last build, None if it has no manifest.

    An unusable manifest is not an error here: a build replaces it and reports that it could not
    compare, and the audit has a finding for it.
    """
    try:
        data = read_bytes(root.manifest(cohort_id))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return Recorded(flaw=f"cannot be read: {error.strerror or type(error).__name__}")
    return parse_recorded(data)


def parse_recorded(data: bytes) -> Recorded:
    """Return what the bytes of a manifest say, whatever they are; never raises."""
    try:
        document = load_object(data)
        # A build with the flag off writes none, as the existing pipeline does.
        rollout = document.get("rollout", {"stages": [], "scheme": "v1"})
        return Recorded(
            rollout=Rollout(stages=tuple(rollout["stages"]), scheme=rollout["scheme"]),
            stated="rollout" in document,
        )
    except ValueError as error:
        return Recorded(flaw=f"is not a JSON object: {error}")
    except (TypeError, KeyError, StoreError):
        return Recorded(flaw="its rollout does not give stages and a scheme that are known")
