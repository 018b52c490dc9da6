"""What a type checker must refuse: each line says with which of mypy's codes."""

from typing import NewType

import genid
from genid import Draft, Essay, EssayId, Evaluation, Grid, Signature, gen_id, scheme

draft = Draft(combo_id="c", template_id="t", llm_model_id="m", replicate=1)
essay = Essay(parent_gen_id=gen_id(draft), template_id="t", replicate=1)
child = gen_id(draft)

Essay(parent_gen_id=gen_id(essay), template_id="t", replicate=1)  # E: arg-type
Essay(parent_gen_id=EssayId("e_x"), template_id="t", replicate=1)  # E: arg-type
Essay(parent_gen_id="6mnl1prnb7hitkpc", template_id="t", replicate=1)  # E: arg-type
Essay(parent_gen_id=draft, template_id="t", replicate=1)  # E: arg-type
Evaluation(parent_gen_id=child, template_id="t", llm_model_id="m", replicate=1)  # E: arg-type
Draft(combo_id="c", template_id="t", llm_model_id="m")  # E: call-arg
Draft("c", "t", "m", 1)  # E: call-arg misc
Draft(combo_id=1, template_id="t", llm_model_id="m", replicate=1)  # E: arg-type
Draft(combo_id="c", template_id="t", llm_model_id=None, replicate=1)  # E: arg-type
Draft(combo_id="c", template_id="t", llm_model_id="m", replicate="1")  # E: arg-type
Draft(combo_id="c", template_id="t", llm_model_id="m", replicate=1, model="x")  # E: call-arg
draft.replicate = 2  # E: misc
gen_id("d_x")  # E: arg-type
gen_id(draft, "v2")  # E: arg-type
wrong: EssayId = gen_id(draft)  # E: assignment arg-type
scheme(1)  # E: arg-type
nowhere = genid.gen_ids  # E: attr-defined

RevisionId = NewType("RevisionId", str)


class Revision(Signature[RevisionId], stage="revision", prefix="r"):
    """A fourth stage is checked like the others."""

    parent_gen_id: EssayId
    previous_gen_id: RevisionId | None = None
    replicate: int


Revision(parent_gen_id=gen_id(essay), previous_gen_id=gen_id(essay), replicate=1)  # E: arg-type
Revision(parent_gen_id=gen_id(draft), replicate=1)  # E: arg-type
Grid(Draft, combo_id={"c"}, template_id=["t"], llm_model_id=["m"], replicate=[1])  # E: arg-type
Revision(parent_gen_id=gen_id(essay))  # E: call-arg
