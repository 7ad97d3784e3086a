"""Checked access to a model's config.json: every mistake becomes one ConfigError with file, key and remedy."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from llm_perf_opt.errors import ConfigError

MOST = 2**40
"""No size of a real model comes near it."""
MOST_LAYERS = 10_000
"""Layers are described one by one."""
_LAYER_COUNTS = frozenset({"num_hidden_layers", "n_layer", "num_layers", "encoder_layers", "decoder_layers", "depth"})


class NotCovered(ConfigError):
    """No closed form for this model, or for a part of it; tracing may cover it."""


_FAMILIES = (
    ("hidden_size", "n_embd", "d_model", "dim"),
    ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    ("num_attention_heads", "n_head", "n_heads", "num_heads"),
    ("intermediate_size", "n_inner", "d_ff", "ffn_dim"),
)
"""How the types call the same size."""


def check_names(given: Collection[str], known: Collection[str], where: str, prefix: str = "") -> None:
    """Refuse sizes under a name that another type gives them, where the type's own name is absent.

    Args:
        given: keys of a config.
        known: those that its model type reads.

    Raises:
        ConfigError: there is one.
    """
    for names in _FAMILIES:
        own = [name for name in names if name in known]
        foreign = [name for name in names if name in given and name not in known]
        if own and foreign and not any(name in given for name in own):
            raise ConfigError(
                f"{where}: {prefix}{foreign[0]} is no key of this model type, which calls it {own[0]}",
                f"correct model_type, or rename {foreign[0]} (left as it is, transformers would use its default)",
            )


_SYNONYMS = {"n": "num", "number": "num", "count": "num", "nr": "num", "expert": "experts", "layer": "layers"}
_SYNONYMS |= {"head": "heads", "dimension": "dim", "token": "tok", "tokens": "tok", "local": "routed"}


def _words(key: str) -> frozenset[str]:
    """The words of a key, ways of writing the same word made one: n_routed_experts = num_routed_experts."""
    return frozenset(_SYNONYMS.get(word, word) for word in key.lower().split("_"))


def _misspelt(wrong: str, right: str) -> bool:
    if _words(wrong) == _words(right):
        return True
    return difflib.SequenceMatcher(None, wrong.lower(), right.lower()).ratio() >= 0.9


class Reader:
    """One mapping of a config with the defaults of its model type.

    Args:
        values: the mapping as read from JSON.
        defaults: value of every key the family reads, as transformers' config class has it.
        where: file (or other origin) named in errors.
        prefix: dotted path of this mapping inside the file, with a trailing dot.
        aliases: other names transformers accepts for a key (`attribute_map`).
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        defaults: Mapping[str, Any],
        *,
        where: str,
        prefix: str = "",
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self.values = values
        self.defaults = defaults
        self.where = where
        self.prefix = prefix
        self._names: dict[str, str] = {}
        for alias, key in (aliases or {}).items():
            if alias in values and key not in values:
                self._names[key] = alias

    def name(self, key: str) -> str:
        """The key as the file writes it, with its path."""
        return f"{self.prefix}{self._names.get(key, key)}"

    def error(self, key: str, problem: str, remedy: str) -> ConfigError:
        """An error at one key."""
        return ConfigError(f"{self.where}: {self.name(key)} {problem}", remedy)

    def not_covered(self, key: str, problem: str) -> NotCovered:
        """An error at a key whose value this closed form does not handle."""
        return NotCovered(f"{self.where}: {self.name(key)} {problem}: no closed form", "use --method traced")

    def get(self, key: str) -> Any:
        """The raw value, or the default of this model type. Reading an undeclared key is a mistake of ours."""
        default = self.defaults[key]
        return self.values.get(self._names.get(key, key), default)

    def given(self, key: str) -> bool:
        """Whether the file itself says something about the key."""
        return self._names.get(key, key) in self.values

    def size(self, key: str, *, least: int = 1) -> int:
        """A whole number of at least `least`."""
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(
                key, f"is {value!r}, not a whole number", f"write a number without quotes, {least} or more"
            )
        if value < least:
            raise self.error(key, f"is {value}, below {least}", f"give the model's own value, {least} or more")
        most = MOST_LAYERS if key in _LAYER_COUNTS else MOST
        if value > most:
            raise self.error(key, f"is {value:,}, above the {most:,} accepted", "give the model's own value")
        return value

    def optional_size(self, key: str, *, least: int = 1) -> int | None:
        """Like `size`, with null allowed."""
        return None if self.get(key) is None else self.size(key, least=least)

    def ratio(self, key: str) -> float:
        """A positive number."""
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise self.error(key, f"is {value!r}, not a positive number", "write a number above 0, without quotes")
        return float(value)

    def flag(self, key: str) -> bool:
        """True or false; null is false."""
        value = self.get(key)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self.error(key, f"is {value!r}, neither true nor false", "write true or false, without quotes")
        return value

    def text(self, key: str) -> str:
        """A string."""
        value = self.get(key)
        if not isinstance(value, str):
            raise self.error(key, f"is {value!r}, not a string", "write a string in quotes")
        return value

    def sequence(self, key: str) -> Sequence[Any] | None:
        """A list, or null."""
        value = self.get(key)
        if value is not None and not isinstance(value, list | tuple):
            raise self.error(key, f"is {value!r}, not a list", "write a JSON list")
        return value

    def sizes(self, key: str, *, least: int = 0) -> tuple[int, ...]:
        """A list of whole numbers."""
        values = self.sequence(key) or ()
        for value in values:
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise self.error(key, f"holds {value!r}", f"a list of whole numbers of {least} or more is wanted")
        return tuple(values)

    def per_layer(self, key: str, layers: int, allowed: Sequence[str]) -> tuple[str, ...] | None:
        """One of `allowed` for each layer, or None where the file leaves it to the model type."""
        values = self.sequence(key)
        if values is None:
            return None
        if len(values) != layers:
            raise self.error(key, f"has {len(values)} entries for {layers} layers", "give one entry for each layer")
        for value in values:
            if value not in allowed:
                raise self.error(key, f"holds {value!r}", f"each entry is one of {', '.join(allowed)}")
        return tuple(values)

    def divides(self, whole: str, part: str) -> int:
        """`whole` divided by `part`, both sizes; an error where it leaves a remainder."""
        top, bottom = self.size(whole), self.size(part)
        if top % bottom:
            raise self.error(
                whole,
                f"is {top}, which {self.name(part)} = {bottom} does not divide",
                "the two contradict each other: correct one of them",
            )
        return top // bottom

    def mapping(self, key: str) -> Mapping[str, Any]:
        """A nested mapping; null and absent give the empty one."""
        value = self.get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self.error(key, f"is {type(value).__name__}, not an object", "write a JSON object")
        return value

    def check_spelling(self) -> None:
        """Refuse keys that nobody reads and that look like an absent one that is read."""
        check_names(self.values, {*self.defaults, *self._names.values()}, self.where, self.prefix)
        absent = [key for key in self.defaults if not self.given(key)]
        known = set(self.defaults) | set(self._names.values())
        for key in self.values:
            # A leading underscore is transformers' own state, saved along.
            if key in known or key.startswith("_"):
                continue
            for right in absent:
                if _misspelt(key, right):
                    raise ConfigError(
                        f"{self.where}: unknown key {self.prefix}{key}; this model type calls it {right}",
                        f"rename {key} to {right} (left as it is, transformers would use its default, "
                        f"{self.defaults[right]!r})",
                    )

    def check_experts(self) -> None:
        """Refuse expert counts that nobody reads, unless the file gives every one that is read.

        Left alone, a mixture of experts would pass for a dense model, or for one of the type's default size.
        """
        read = [key for key in self.defaults if "expert" in key]
        if read and all(self.given(key) for key in read):
            return
        for key, value in self.values.items():
            if key in self.defaults or key in self._names.values() or "expert" not in key:
                continue
            if isinstance(value, int) and not isinstance(value, bool) and value > 1:
                raise ConfigError(
                    f"{self.where}: {self.prefix}{key} = {value} is no key of this model type",
                    f"the keys it reads are {', '.join(read)}" if read else "this type is dense: check model_type",
                )
