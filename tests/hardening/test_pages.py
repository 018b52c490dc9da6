"""What `docs/errors.md` and `docs/platforms.md` say is what the code does."""

import importlib
import json
import pkgutil
from pathlib import Path

import pytest

import genid
import genid_dagster_adapter
import genid_store
from genid_store.fs.layout import DataRoot
from genid_store.generation.once import Executor
from genid_store.generation.records import Generated


def defined_errors() -> set[str]:
    """Return the names of the exceptions that the two packages define."""
    found = set()
    for package in (genid, genid_store, genid_dagster_adapter):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith(("__main__", ".daft")):  # that extra is not installed
                names = vars(importlib.import_module(module.name)).values()
                found |= {
                    one.__name__
                    for one in names
                    if isinstance(one, type)
                    and issubclass(one, BaseException)
                    and one.__module__.startswith(package.__name__)
                    and not one.__name__.startswith("_")
                }
    return found


def test_every_error_is_on_its_page(project: Path) -> None:
    """Each public exception of both packages has its line in docs/errors.md."""
    page = (project / "docs" / "errors.md").read_text(encoding="utf-8")
    assert [] == sorted(name for name in defined_errors() if f"`{name}`" not in page)


@pytest.mark.parametrize("name", ["template_digest", "provider_model", "parameters", "digest"])
def test_what_is_no_identity_is_recorded_where_the_page_says(
    project: Path, tmp_path: Path, name: str
) -> None:
    """Each key that docs/platforms.md names is in the record of a generation that was made."""
    folder = tmp_path / "gens" / "draft" / "d1"
    folder.mkdir(parents=True)
    fields = {"combo_id": "c", "template_id": "t", "llm_model_id": "m", "replicate": 1}
    metadata = {"stage": "draft", "gen_id": "d1", "mode": "llm", **fields}
    (folder / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    (tmp_path / "templates" / "draft").mkdir(parents=True)
    (tmp_path / "templates" / "draft" / "t.txt").write_text("Write.", encoding="utf-8")

    def generate(_request: object) -> Generated:
        return Generated(text="x", provider_model="v/m", parameters={"temperature": 1})

    outcome = Executor(root=DataRoot.open(tmp_path), generator=generate).obtain("draft", "d1")
    assert "made" == outcome.kind
    page = (project / "docs" / "platforms.md").read_text(encoding="utf-8")
    file = "parsed_metadata.json" if name == "digest" else "raw_metadata.json"
    assert f"`{file}`, `genid.{name}`" in page
    assert name in json.loads((folder / file).read_bytes())["genid"]
