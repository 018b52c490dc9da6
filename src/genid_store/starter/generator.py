"""The generator of this data root: the code that `genid cohort run --generate` calls.

`offline` is called once for every missing text, from several threads. It invents an answer; to ask
a model, replace `invented` by a call of your provider's client. An exception that it raises is
recorded as that text's failure, and the run continues with the other texts.
"""

import csv
import hashlib
import re
from pathlib import Path
from string import Template

from genid_store import Generated, NotPaid, Request


def offline(request: Request) -> Generated:
    """Invent a text without network or cost, always the same one for a prompt and id."""
    prompt = fill_in(request)
    text = request.unparsed_text or invented(request, prompt)
    if request.stage != "evaluation":
        return Generated(text=text, prompt=prompt)
    score = re.search(r"^SCORE: *([0-9]+)\s*$", text, re.MULTILINE)
    if score is None:  # the text is kept; the evaluation counts as failed
        return Generated(text=text, prompt=prompt, unparsed="there is no line `SCORE: n`")
    return Generated(text=text, prompt=prompt, parsed=score[1])


def invented(request: Request, prompt: str) -> str:
    """Return what a model could answer; request.provider_model is the model to ask."""
    number = hashlib.blake2b(f"{request.gen_id} {prompt}".encode(), digest_size=4).hexdigest()
    lines = [f"An invented {request.stage}, number {number}."]
    if request.stage == "evaluation":
        lines.append(f"SCORE: {int(number, 16) % 11}")
    return "\n".join(lines) + "\n"


def fill_in(request: Request) -> str:
    """Return the prompt: the template with $concepts (drafts) or $parent_text (the others)."""
    values = dict(request.fields)
    if request.parent_text is None:
        values["concepts"] = concepts(request)
    else:
        values["parent_text"] = request.parent_text
    file = f"templates/{request.stage}/{request.fields['template_id']}.txt"
    try:
        return Template(request.template_text).substitute(values)
    except KeyError as error:
        known = ", ".join(f"${name}" for name in values)
        raise NotPaid(f"{file}: ${error.args[0]} is unknown; use {known}") from None
    except ValueError as error:  # such as $5
        raise NotPaid(f"{file}: {error}; write $$ for a dollar sign") from None


def concepts(request: Request) -> str:
    """Return the names and texts of the concepts in the draft's combo."""
    root = request.data_root
    names = {row["concept_id"]: row["name"] for row in rows(root / "1_raw/concepts_metadata.csv")}
    combos = [
        *rows(root / "combo_mappings.csv"),
        *rows(root / "2_tasks/selected_combo_mappings.csv"),
    ]
    chosen = {
        row["concept_id"]: root / "concepts" / row["description_level"]
        for row in combos
        if row["combo_id"] == request.fields["combo_id"]
    }
    try:
        texts = {name: (chosen[name] / f"{name}.txt").read_text("utf-8") for name in sorted(chosen)}
    except OSError as error:
        raise NotPaid(f"{error.filename}: {error.strerror}") from None
    return "\n\n".join(f"{names[name]}: {text.strip()}" for name, text in texts.items())


def rows(table: Path) -> list[dict[str, str]]:
    """Return the rows of a table; none if the file does not exist."""
    if not table.exists():
        return []
    with table.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))
