"""The regression fixtures are what the code makes today; `make fixtures` makes them anew."""

import importlib.util
from pathlib import Path

import pytest

_PATH = Path(__file__).resolve().parents[1] / "fixtures" / "regenerate.py"
_SPEC = importlib.util.spec_from_file_location("regenerate", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
regenerate = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(regenerate)


@pytest.mark.parametrize("name", regenerate.FIXTURES)
def test_a_fixture_is_not_stale(tmp_path: Path, name: str) -> None:
    """Both modes: the same tables give the same ids, files and texts, byte for byte."""
    flag, scheme = regenerate.FIXTURES[name]
    recorded = (regenerate.HERE / name).read_text(encoding="utf-8")
    assert recorded == regenerate.materialized(tmp_path, flag, scheme)


def test_no_fixture_is_left_over() -> None:
    """Every file is one that the script makes."""
    found = {path.name for path in regenerate.HERE.glob("*.json")}
    assert found == set(regenerate.FIXTURES)
