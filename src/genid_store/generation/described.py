"""Look at what a folder's metadata says before its text is paid for."""

from __future__ import annotations

from typing import Final

from genid_store.catalog import findings
from genid_store.catalog.expected import as_parent, derive_expected
from genid_store.catalog.metadata import Generation, read_generation
from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import METADATA, DataRoot

_IDENTIFYING: Final = ("combo_id", "parent_gen_id", "template_id", "llm_model_id", "replicate")


def check_metadata(root: DataRoot, generation: Generation) -> None:
    """StoreError: the metadata does not say what is to be made, or a v1 id is not that of its
    fields, by the audit's rule, so that the text would be another task's; nothing is paid for."""
    wrong = [one for one in generation.problems if not one.field or one.field in _IDENTIFYING]
    if wrong:
        raise StoreError("its metadata cannot be used", wrong)
    if generation.mode == "copy" and generation.stage != "essay":
        problem = Problem(
            where=f"{generation.stage} {generation.gen_id}",
            message=f"mode copy copies an essay's draft; a {generation.stage} cannot be copied",
            remedy="give its template the generator llm, and build its cohort again",
        )
        raise StoreError("there is nothing to copy", [problem])
    above = None if generation.parent is None else read_generation(root, *generation.parent)
    parent = as_parent(above, None, None) if above is not None and above.raw else None
    found = derive_expected(generation, parent).problems
    wrong = [one for one in found if one.code == findings.ID_NOT_RECOMPUTED]
    if not wrong:
        return
    fields = {name: value for name, value in generation.signature_fields().items() if value}
    problem = Problem(
        where=root.relative(root.generation(generation.stage, generation.gen_id) / METADATA),
        message=f"describes another generation, whose id is {wrong[0].value}",
        value=fields,
        remedy=wrong[0].remedy,
    )
    raise StoreError("the metadata contradicts the id", [problem])
