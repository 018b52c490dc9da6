"""What a materialization says, with the ids in it replaced; nothing is reported here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import dagster as dg
from attrs import frozen

from genid_store.migration.references import References

_DATA_VERSION: Final = "dagster/data_version"


@frozen
class Rewriting:
    """Old ids in an event's words replaced by new ones."""

    references: References

    def value(self, key: str, value: Any) -> Any:
        """Return a metadata value with the ids in it replaced; numbers and tables stay."""
        if isinstance(value, dg.TextMetadataValue):
            return dg.MetadataValue.text(self._words(key, value.value or ""))
        if isinstance(value, dg.PathMetadataValue):
            return dg.MetadataValue.path(self._words(key, str(value.value or "")))
        if isinstance(value, dg.MarkdownMetadataValue):
            return dg.MetadataValue.md(self._words(key, value.value or ""))
        if isinstance(value, dg.UrlMetadataValue):
            return dg.MetadataValue.url(self._words(key, value.value or ""))
        if isinstance(value, dg.JsonMetadataValue):
            return dg.MetadataValue.json(self._json(key, value.value))
        return value

    def tag(self, key: str, value: str) -> str:
        return value if key == _DATA_VERSION else self._words(key, value)

    def optional(self, text: str | None) -> str | None:
        return None if text is None else self._words("", text)

    def _words(self, key: str, text: str) -> str:
        return self.references.new_text(key, text) or self.references.new_words(text)

    def _json(self, key: str, value: Any) -> Any:
        if isinstance(value, str):
            return self._words(key, value)
        if isinstance(value, Mapping):
            return {name: self._json(str(name), one) for name, one in value.items()}
        if isinstance(value, Sequence):
            return [self._json(key, one) for one in value]
        return value
