"""Make one generation: claim it, read what it is made from, call the host, publish the files.

The only place that calls the host's callable. What it is asked for follows from the data root
alone: metadata, the template's text, the parent's `parsed.txt`.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import threading
import time
from collections.abc import Mapping
from typing import Final

from attrs import field, frozen
from blake3 import blake3

from genid_store.catalog.metadata import Generation, read_generation
from genid_store.errors import Problem, StoreError
from genid_store.fs.files import check_inside
from genid_store.fs.layout import PARSED, PARSED_METADATA, PROMPT, RAW, RAW_METADATA, DataRoot
from genid_store.fs.leases import claim
from genid_store.fs.locks import blocked
from genid_store.generation import failures
from genid_store.generation.publish import prepared, publish, roll_forward, staged
from genid_store.generation.records import (
    COMPLETE,
    Generated,
    Generator,
    Kind,
    Outcome,
    Request,
    as_generated,
)
from genid_store.generation.status import has_content
from genid_store.stages import parent_key, parent_stage

_FIELDS: Final = ("combo_id", "parent_gen_id", "template_id", "llm_model_id", "replicate")


@frozen(kw_only=True)
class Maker:
    """Makes generations of one data root with one callable; called from several threads at once.

    `provider_models` maps model ids to the provider's names (`llm_models.csv`, column `model`).
    `pay_again` makes what was paid for before and could not be parsed.
    """

    root: DataRoot
    generator: Generator
    provider_models: Mapping[str, str] = field(factory=dict)
    pay_again: bool = False
    stop: threading.Event = field(factory=threading.Event)

    def make(self, stage: str, gen_id: str) -> Outcome:
        """Return what became of one generation; every failure is an outcome, and on record.

        Content that is there is reused without a call, also where it appears while another run
        holds the claim.
        """
        started = time.monotonic()
        try:
            kind, reason = self._make(stage, gen_id)
        except Exception as error:  # the host may raise anything: it is an outcome
            kind, reason = "failed", _told(error)
        if kind in {"failed", "unparsed"}:
            with contextlib.suppress(OSError, StoreError):  # the outcome tells of a full disk
                failures.record(self.root, stage, gen_id, reason)
        return Outcome(
            stage=stage,
            gen_id=gen_id,
            kind=kind,
            reason=reason,
            version=content_version(self.root, stage, gen_id) if kind in COMPLETE else None,
            seconds=time.monotonic() - started,
        )

    def _make(self, stage: str, gen_id: str) -> tuple[Kind, str]:
        own = (self.root.own / name / stage for name in ("claims", "staging"))
        check_inside(self.root, self.root.generation(stage, gen_id), *own)
        if has_content(self.root, stage, gen_id):
            return "reused", ""
        with claim(self.root, stage, gen_id, self.stop) as held:
            if not held:
                return "stopped", "another run holds it"
            barred = blocked(self.root)  # looked at under the claim: a migration waits for claims
            if barred is not None:
                return "stopped", f"{barred.reason}; {barred.remedy}"
            roll_forward(self.root, stage, gen_id)
            if has_content(self.root, stage, gen_id):
                return "reused", ""
            outcome = self._make_claimed(read_generation(self.root, stage, gen_id))
            if outcome[0] in {"made", "copied"}:
                failures.forget(self.root, stage, gen_id)
            return outcome

    def _make_claimed(self, generation: Generation) -> tuple[Kind, str]:
        stage, gen_id = generation.stage, generation.gen_id
        _check_metadata(generation)
        parent_text = self._parent_text(generation)
        if parent_stage(stage) is not None and parent_text is None:
            return "blocked", f"{parent_stage(stage)} {generation.parent_gen_id} has no content"
        if generation.mode == "copy" and parent_text is not None:
            with prepared(self.root, stage, gen_id) as folder:
                publish(folder, _copied(parent_text))
            return "copied", ""
        unparsed = _read_text(self.root, stage, gen_id, RAW)
        if unparsed is not None and not self.pay_again:
            return "unparsed", _UNPARSED
        return self._call(generation, parent_text, unparsed)

    def _call(
        self, generation: Generation, parent_text: str | None, unparsed: str | None
    ) -> tuple[Kind, str]:
        template = self._template(generation)
        request = self._request(generation, template, parent_text, unparsed)
        with prepared(self.root, generation.stage, generation.gen_id) as folder:
            if self.stop.is_set():
                return "stopped", "interrupted before it began"
            generated = as_generated(_answer(self.generator, request))
            files = _files(generated, request, template)
            publish(folder, files)
        if PARSED in files:
            return "made", ""
        return "unparsed", f"{generated.unparsed or 'its text is not Unicode'}; {_UNPARSED}"

    def _request(
        self,
        generation: Generation,
        template: bytes,
        parent_text: str | None,
        unparsed: str | None,
    ) -> Request:
        model = generation.llm_model_id or self._inherited_model(generation)
        values = {name: getattr(generation, name) for name in _FIELDS}
        values |= {"llm_model_id": model, "replicate": generation.effective_replicate}
        return Request(
            stage=generation.stage,
            gen_id=generation.gen_id,
            fields={name: value for name, value in values.items() if value is not None},
            template_text=template.decode("utf-8"),
            parent_text=parent_text,
            metadata=generation.raw,
            provider_model=self.provider_models.get(model or ""),
            unparsed_text=unparsed,
            data_root=self.root.path,
        )

    def _inherited_model(self, generation: Generation) -> str | None:
        """Return the draft's model: an essay without a model of its own has its draft's."""
        if generation.stage != "essay" or generation.parent_gen_id is None:
            return None
        return read_generation(self.root, "draft", generation.parent_gen_id).llm_model_id

    def _parent_text(self, generation: Generation) -> str | None:
        parent = parent_key(generation.stage, generation.parent_gen_id)
        return None if parent is None else _read_text(self.root, *parent, PARSED)

    def _template(self, generation: Generation) -> bytes:
        """Return the template's bytes. StoreError: its file is not there."""
        path = self.root.template(generation.stage, generation.template_id or "")
        try:
            return path.read_bytes()
        except OSError as error:
            problem = Problem(
                where=self.root.relative(path),
                message=error.strerror or str(error),
                remedy="put the template's text there",
            )
            raise StoreError("the template's text cannot be read", [problem]) from error


def _answer(generator: Generator, request: Request) -> object:
    """Call the host. RuntimeError: it raised what would end more than this one generation (an
    exit, a cancellation); an interrupt is passed on."""
    try:
        return generator(request)
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise RuntimeError(f"the callable raised {type(error).__name__}: {error}") from error


_UNPARSED: Final = (
    "it was paid for and has no parsed.txt: write that file by hand, or have it made again with "
    "--retry-failed"
)


def recover(root: DataRoot) -> int:
    """Publish every generation that an earlier run completed and could not publish any more; return
    how many. One that another run holds is left to it."""
    at_once = threading.Event()
    at_once.set()
    count = 0
    for stage, gen_id in staged(root):
        with claim(root, stage, gen_id, at_once) as held:
            if held and blocked(root) is None and roll_forward(root, stage, gen_id):
                failures.forget(root, stage, gen_id)
                count += 1
    return count


def digest(data: bytes) -> str:
    """Return the BLAKE3 digest of some bytes in hex, as raw_metadata.json records it."""
    return blake3(data).hexdigest()


def content_version(root: DataRoot, stage: str, gen_id: str) -> str | None:
    """Return the fingerprint of a generation's content, BLAKE3 of parsed.txt; None: it has none
    that can be read."""
    try:
        return digest((root.generation(stage, gen_id) / PARSED).read_bytes())
    except OSError:
        return None


def _check_metadata(generation: Generation) -> None:
    """StoreError: the metadata does not say what is to be made; nothing is paid for then."""
    wrong = [flaw for flaw in generation.problems if not flaw.field or flaw.field in _FIELDS]
    if wrong:
        raise StoreError("its metadata cannot be used", wrong)
    if generation.mode == "copy" and generation.stage != "essay":
        problem = Problem(
            where=f"{generation.stage} {generation.gen_id}",
            message=f"mode copy copies an essay's draft; no {generation.stage} can be copied",
            remedy="give its template the generator llm",
        )
        raise StoreError("there is nothing to copy", [problem])


def _files(generated: Generated, request: Request, template: bytes) -> dict[str, bytes]:
    """Return the files of one generation. Nothing in here may fail: the text is paid for."""
    made_with = {
        "template_digest": digest(template),
        "provider_model": generated.provider_model or request.provider_model,
        "parameters": generated.parameters,
        "generated_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    parsed = generated.text if generated.parsed is None else generated.parsed
    files = {RAW: _encoded(generated.text), RAW_METADATA: _document(made_with)}
    if generated.prompt is not None:
        files[PROMPT] = _encoded(generated.prompt)
    if generated.unparsed is None and _is_unicode(parsed):
        text = parsed.encode("utf-8")
        files[PARSED_METADATA] = _document({"digest": digest(text)})
        files[PARSED] = text
    return files


def _copied(parent_text: str) -> dict[str, bytes]:
    text = parent_text.encode("utf-8")
    return {
        RAW: text,
        RAW_METADATA: _document({"mode": "copy"}),
        PARSED_METADATA: _document({"digest": digest(text)}),
        PARSED: text,
    }


def _document(genid: Mapping[str, object]) -> bytes:
    given = {key: value for key, value in genid.items() if value is not None}
    try:
        text = json.dumps(
            {"genid": given}, ensure_ascii=False, indent=2, default=repr, skipkeys=True
        )
    except Exception:  # the host's parameters may be anything, in a circle too
        return _document({**genid, "parameters": "they cannot be written as JSON"})
    return _encoded(text)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _read_text(root: DataRoot, stage: str, gen_id: str, name: str) -> str | None:
    try:
        data = (root.generation(stage, gen_id) / name).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return data.decode("utf-8", "surrogatepass")


def _told(error: Exception) -> str:
    """Return one failure in words: an StoreError's own, else the exception's type and text."""
    if isinstance(error, StoreError):
        return "; ".join([error.summary, *map(str, error.problems)])
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
