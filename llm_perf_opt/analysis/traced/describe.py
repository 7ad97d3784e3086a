"""Turning traced passes into the operators that a closed form is written with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from torch import nn

from llm_perf_opt.analysis.static.attention import Attention, CrossAttention, EncoderAttention
from llm_perf_opt.analysis.static.decoder import stack
from llm_perf_opt.analysis.static.description import Block
from llm_perf_opt.analysis.static.entries import EntryAttention
from llm_perf_opt.analysis.static.operators import Convolution, Experts, Linear, Operator, Product, Table, Vector
from llm_perf_opt.analysis.static.rows import Once, Rows, Some, Together
from llm_perf_opt.analysis.static.source_attention import BothWays, SourceAttention
from llm_perf_opt.analysis.static.state import CausalConvolution, Recurrence
from llm_perf_opt.analysis.traced.counter import Call, Scores
from llm_perf_opt.analysis.traced.growth import (
    Basis,
    Counts,
    Group,
    NotExpressible,
    aligned,
    bases_of,
    bases_of_encoder,
    fitted,
)
from llm_perf_opt.analysis.traced.model import Built
from llm_perf_opt.analysis.traced.probe import PROMPT, Kept, Probed, Traced, stride_of
from llm_perf_opt.errors import ConfigError


class Describer:
    """Operators of one traced model."""

    def __init__(self, built: Built, probed: Probed | None) -> None:
        self.built = built
        self.probed = probed
        self.prompt = probed.prompt if probed else PROMPT
        self.source = probed.source if probed else None
        self.alone = probed.alone if probed else ()
        model = built.model
        self.sizes = {name: tuple(p.shape) for name, p in model.named_parameters()}
        self.held: dict[str, list[str]] = defaultdict(list)
        """Path of a module -> the parameters that it holds itself."""
        for name in self.sizes:
            self.held[name.rpartition(".")[0]].append(name)
        names = {id(p): name for name, p in model.named_parameters()}
        self.owner = {
            name: names[id(p)] for name, p in model.named_parameters(remove_duplicate=False) if names[id(p)] != name
        }
        """Name of a weight that is another module's -> its name there."""
        head = model.get_output_embeddings()  # type: ignore[operator]
        self.head = next((path for path, module in model.named_modules() if module is head), None)
        self.modules = dict(model.named_modules())
        own = model.get_decoder() if built.has_encoder else model  # type: ignore[operator]
        self.decoder = next((path for path, module in self.modules.items() if module is own), "")
        """Path of what a cache belongs to."""
        self.used: set[str] = set()

    def _own(self, weight: str | None) -> str | None:
        """The weight, where nothing has claimed it yet."""
        return weight if weight in self.sizes and weight not in self.used else None

    def _bias(self, weight: str) -> bool:
        bias = f"{weight.rpartition('.')[0]}.bias"
        if weight.endswith(".weight") and bias in self.sizes and bias not in self.used:
            self.used.add(bias)
            return True
        return False

    def operators(self, groups: Iterable[Group], prefix: str, *, vision: bool = False) -> list[Operator]:
        """Operators of the calls under a path, named relative to it."""
        made: list[Operator] = []
        experts: dict[str, list[Group]] = defaultdict(list)
        for group in groups:
            kind = group.first.kind
            weight = group.first.weight
            # A weight may be used by the module above its own.
            path = weight.rpartition(".")[0] if weight in self.sizes and kind == "matrix" else group.path
            name = (path if path.startswith(prefix) else group.path)[len(prefix) :].lstrip(".") or "self"
            if kind == "experts":
                experts[name].append(group)
            elif kind == "state":
                made.append(self._state(group, name))
            elif kind == "attention":
                made.extend(self._attention(group, f"{name}.attention", vision=vision))
            elif kind == "gather":
                made.extend(self._gathered(group, name, vision=vision))
            else:
                made.extend(self._product(group, name, vision=vision))
        for name, parts in experts.items():
            made.extend(self._experts(parts, name))
        return made

    def _bases(self, path: str) -> Mapping[Basis, Counts]:
        """What the counts of a module may grow with."""
        if self.alone:
            return bases_of_encoder(self.alone)
        kept = self._kept(self._layer(path))
        return bases_of(self.prompt, kept.window if kept else None, self._stride(path), self.source)

    def _stride(self, path: str) -> int | None:
        """Positions that one entry of a module stands for, or of the module that it is a part of."""
        above = (self.modules.get(path.rsplit(".", drop)[0]) for drop in range(path.count(".") + 1))
        return next((stride for module in above if module is not None and (stride := stride_of(module))), None)

    def _layer(self, path: str) -> int | None:
        """The layer of the cache that a module's counts belong to."""
        modules = (self.modules.get(path.rsplit(".", drop)[0]) for drop in range(path.count(".") + 1))
        found = (getattr(module, "layer_idx", None) for module in modules)
        return next((index for index in found if isinstance(index, int)), None)

    def _rows(self, counts: Counts, path: str, *, vision: bool) -> tuple[Some, int]:
        """Rows as an operator takes them, and how many times each is meant."""
        if vision:
            return counts[0], 1
        basis, factor = fitted(counts, self._bases(path), path)
        if basis == "sequence":
            return factor, 1
        if basis in ("once", "together"):
            return (Once if basis == "once" else Together)(factor), 1
        if not isinstance(basis, str):
            return basis, factor
        what = path
        raise NotExpressible(f"{what}: rows that grow with tokens and positions at once")

    def _product(self, group: Group, name: str, *, vision: bool) -> list[Operator]:
        call = group.first
        if call.kind == "matrix" and isinstance(call.detail, int) and self._own(call.weight):
            return self._many(group, name)
        weight = call.weight if self._own(call.weight) else self._held(group.path, call)
        inputs, outputs = call.sizes
        if call.kind == "matrix" and (group.path == self.head or weight is not None):
            rows, factor = self._rows(group.counts("rows"), group.path, vision=vision)
            shared = weight is None
            if weight is not None:
                self.used.add(weight)
            bias = weight is not None and self._bias(weight)
            linear = Linear(name, inputs, outputs, bias, rows, shared=shared, quantizable=self._plain(weight, outputs))
            again = [Product(f"{name}.again", factor - 1, 1, outputs, inputs, rows=rows)] if factor > 1 else []
            return [linear, *again]
        if call.kind == "other" and weight is not None:
            self.used.add(weight)
            return self._convolution(group, name, weight, vision=vision)
        return [self._flops_alone(group, name, vision=vision)]

    def _held(self, path: str, call: Call) -> str | None:
        """The weight of a product whose side was a copy: the one of that size that the module itself holds."""
        inputs, outputs = call.sizes
        same = [
            name
            for name in self.held.get(path, ())
            if name not in self.used and sorted(self.sizes[name]) == sorted((inputs, outputs))
        ]
        return same[0] if call.kind == "matrix" and call.weight is None and len(same) == 1 else None

    def _convolution(self, group: Group, name: str, weight: str, *, vision: bool) -> list[Operator]:
        outputs, inputs, *kernel = self.sizes[weight]
        area = 1
        for side in kernel:
            area *= side
        counts = [count // (2 * outputs * inputs * area) for count in group.counts("flops")]
        more = counts[3] if not vision and counts[0] == self.prompt + counts[3] - 1 else 1
        # Positions of the cache that go through it once more, in every pass.
        again = [] if more == 1 else [Product(f"{name}.again", more - 1, 1, outputs, inputs * area)]
        rows, factor = self._rows([count - more + 1 for count in counts], group.path, vision=vision)
        bias = self._bias(weight)
        if isinstance(rows, int):
            return [Convolution(name, inputs, outputs, area, rows, bias)]
        if factor > 1:
            again.append(Product(f"{name}.again", factor - 1, 1, outputs, inputs * area, rows=rows))
        return [Linear(name, inputs * area, outputs, bias, rows, quantizable=False), *again]

    def _flops_alone(self, group: Group, name: str, *, vision: bool) -> Operator:
        """A product whose sides are both computed, or whose weight is counted elsewhere."""
        halves = [count // 2 for count in group.counts("flops")]
        if vision:
            return Product(name, 1, 1, 1, halves[0])
        basis, factor = fitted(halves, self._bases(group.path), group.path)
        if basis == "entries":
            return EntryAttention(f"{name}.entries", factor, 1, self._stride(group.path) or 1)
        if basis in ("source pairs", "source keys"):
            return SourceAttention(name, factor, 1, own=basis == "source pairs")
        if isinstance(basis, str) and basis.endswith("pairs"):
            return self._pairs(group, name, basis, factor)
        alone: Mapping[str, Some] = {"once": Once(1), "together": Together(1), "sequence": 1}
        rows = alone[basis] if isinstance(basis, str) else basis
        return Product(name, factor, 1, 1, 1, rows=rows)

    def _pairs(self, group: Group, name: str, basis: str, width: int) -> Operator:
        """One of the two products of an attention that is written out."""
        if basis == "position pairs":
            raise NotExpressible(f"{name}: a product of positions by positions")
        if self.alone:
            return BothWays(name, width, 1)
        if basis == "all pairs":
            return Attention(name, width, 1, 0, 0, from_start=True)
        kept = self._kept(self._layer(group.path))
        window = kept.window if kept else None
        chunked = bool(kept and kept.chunked)
        selected, block = (None, None) if window else self._selection(group.path)
        last = basis == "logit pairs"
        return Attention(name, width, 1, 0, 0, window, chunked, selected, block, last_only=last)

    def _selection(self, path: str) -> tuple[int | None, int | None]:
        """Keys that an indexer lets each query see, and how many are chosen together."""
        if getattr(self.modules.get(path), "index_topk", None) is not None:
            # The indexer itself looks at all.
            return None, None
        text = self.built.text_config
        named = (("index_topk", "index_kpool"), ("indexer_budget", "indexer_compress_ratio"))
        found = ((getattr(text, most, None), getattr(text, together, None)) for most, together in named)
        return next((pair for pair in found if pair[0] is not None), (None, None))

    def _gathered(self, group: Group, name: str, *, vision: bool) -> list[Operator]:
        weight = self._own(group.first.weight)
        if weight is None:
            return []
        self.used.add(weight)
        height, width = group.first.sizes
        if vision:
            return [Table(name, height, width, gathered=group.first.rows)]
        basis, factor = fitted(group.counts("rows"), self._bases(group.path), group.path)
        if isinstance(basis, str) and basis.endswith("pairs"):
            # A row for each pair of positions: all rows are read.
            return [Table(name, height, width, gathered=Once(height) if basis == "source pairs" else height)]
        rows: Some | None = factor if basis in ("sequence", "together") else None
        rows = basis if basis in (Rows.SOURCE, Rows.POSITIONS) else rows
        return [Table(name, height, width, gathered=rows)]

    def _attention(self, group: Group, name: str, *, vision: bool) -> list[Operator]:
        scores = group.first.detail
        assert isinstance(scores, Scores)
        if vision:
            group_of = (group.first.rows, scores.keys)
            if scores.qk_dim == scores.v_dim and scores.queries == scores.keys:
                return [EncoderAttention(name, scores.heads, scores.qk_dim, (group_of,))]
            pairs = group.first.rows * scores.queries * scores.keys
            return [Product(name, pairs * scores.heads, 1, scores.v_dim + scores.qk_dim, 1)]
        calls = [call.detail for call in group.calls if call and isinstance(call.detail, Scores)]
        keys, queries = tuple(call.keys for call in calls), tuple(call.queries for call in calls)
        kept = self._kept(scores.layer)
        if self.alone:
            return [self._both_ways(scores, name, queries, keys)]
        if self.source is not None and set(keys) == {self.source}:
            own = set(queries) == {self.source}
            return [SourceAttention(name, scores.heads, scores.qk_dim + scores.v_dim, own)]
        if set(queries) == {queries[0]} and queries[0] > 1:
            raise ConfigError(
                f"{self.built.where}: every pass of this model computes {queries[0]} positions at once: it does not "
                "decode token by token",
                "static analysis counts prefill and decode steps: give a model that has them",
            )
        window = scores.window or (kept.window if kept else None)
        if window is None and len(set(keys)) == 1 and len(set(queries)) > 1:
            return [CrossAttention(name, scores.heads, scores.qk_dim, keys[0], 0)]
        entries: list[Operator] = []
        bases = bases_of(self.prompt, None, None)
        if kept and kept.entries:
            entry, keys = self._seen_entries(group.path, scores, keys)
            entries.append(replace(entry, name=f"{name}.entries"))
        if queries not in (bases[Rows.TOKENS], bases[Rows.LOGITS]) or (window is None and keys != bases[Rows.KEYS]):
            raise NotExpressible(f"{name}: attention of {queries} queries over {keys} keys")
        found = Attention(
            name,
            scores.heads,
            scores.qk_dim,
            scores.v_dim,
            0,
            window=window,
            chunked=bool(kept and kept.chunked),
            bidirectional_prompt=not scores.causal,
            last_only=queries == bases[Rows.LOGITS],
        )
        return [found, *entries]

    def _both_ways(self, scores: Scores, name: str, queries: Counts, keys: Counts) -> Operator:
        """The attention of an encoder alone: all its positions, or those on each side that its mask allows."""
        reach = getattr(self.built.text_config, "sliding_window", None) if scores.window else None
        known = scores.window is None or (reach is not None and scores.window in (reach, reach + 1))
        lengths = [length for _, length in self.alone]
        if list(queries) != lengths or list(keys) != lengths or scores.causal or not known:
            raise NotExpressible(f"{name}: attention of {queries} queries over {keys} keys")
        return BothWays(name, scores.heads, scores.qk_dim + scores.v_dim, reach)

    def _seen_entries(self, path: str, scores: Scores, keys: tuple[int, ...]) -> tuple[EntryAttention, tuple[int, ...]]:
        """The attention to the entries of a layer, and the other keys of each pass."""
        parts = list(self.modules[path].modules())
        stride = next((stride for part in parts if (stride := stride_of(part))), None)
        if stride is None:
            raise NotExpressible(f"{path}: entries of an unknown number of positions")
        selected = next((most for part in parts if isinstance(most := getattr(part, "index_topk", None), int)), None)
        positions = (self.prompt, self.prompt, self.prompt + 1, self.prompt + 2)
        others = tuple(found - place // stride for found, place in zip(keys, positions, strict=True))
        return EntryAttention("", scores.heads, scores.qk_dim + scores.v_dim, stride, selected), others

    def _state(self, group: Group, name: str) -> Operator:
        operator = group.first.detail
        assert isinstance(operator, Recurrence | CausalConvolution | EntryAttention)
        if isinstance(operator, EntryAttention):
            return replace(operator, name=f"{name}.entries")
        if isinstance(operator, Recurrence):
            return replace(operator, name=f"{name}.recurrence")
        self.used.update(n for conv in ("conv1d", "conv", "conv_1d") for n in self.held.get(f"{group.path}.{conv}", ()))
        return replace(operator, name=f"{name}.conv1d")

    def _experts(self, parts: Sequence[Group], name: str) -> list[Operator]:
        count, calls = parts[0].first.detail, [group.first for group in parts]
        assert isinstance(count, int)
        owned = [call.weight for call in calls if self._own(call.weight)]
        rows, factor = self._rows(parts[0].counts("rows"), name, vision=False)
        if not isinstance(rows, Rows):
            raise NotExpressible(f"{name}: experts visited by something else than tokens")
        if len(owned) < len(calls):
            return [Product(name, factor, 1, o, i, rows=rows) for i, o in (call.sizes for call in calls)]
        self.used.update(weight for weight in owned if weight)
        biases = [n for n in self.held.get(parts[0].path, ()) if n.endswith("bias")]
        bias = len(biases) == len(calls)
        self.used.update(biases if bias else ())
        return [Experts(name, count, factor, tuple(call.sizes for call in calls), bias, rows=rows)]

    def _plain(self, weight: str | None, outputs: int) -> bool:
        """Whether checkpoints may quantize a weight: that of an ordinary linear layer, not of a router or the head."""
        path = weight.rpartition(".")[0] if weight else ""
        return type(self.modules.get(path)) is nn.Linear and path != self.head and outputs > 1

    def _many(self, group: Group, name: str) -> list[Operator]:
        """Several matrices at once: experts that every token is multiplied by, or groups of one projection.

        How many experts a token is routed to stands on a module beside them.
        """
        call, count = group.first, group.first.detail
        assert isinstance(count, int)
        assert call.weight is not None
        parent = self.modules[group.path.rpartition(".")[0]]
        chosen = next((getattr(module, "top_k", None) for module in parent.modules() if hasattr(module, "top_k")), None)
        self.used.add(call.weight)
        if not isinstance(chosen, int):
            rows, factor = self._rows(group.counts("rows"), name, vision=False)
            if factor != count:
                raise NotExpressible(f"{name}: {count} matrices multiplied at once")
            return [Linear(name, call.sizes[0], call.sizes[1] * count, self._bias(call.weight), rows)]
        return [Experts(f"{name}.{call.weight.rpartition('.')[2]}", count, chosen, (call.sizes,), dense=True)]

    def _kept(self, layer: int | None) -> Kept | None:
        cache = self.probed.cache if self.probed else None
        return cache[layer] if cache and layer is not None and layer < len(cache) else None

    def with_cache(self, operators: list[Operator], layer: int) -> list[Operator]:
        """The operators of a layer with what it keeps in the cache."""
        kept = self._kept(layer)
        if kept is None:
            return operators
        left, source = kept.per_position, kept.source
        done: list[Operator] = []
        crossing = sum(size for name, size, _ in kept.fixed if name in ("keys", "values"))
        for operator in operators:
            if isinstance(operator, Attention) and left:
                done.append(replace(operator, cache_elements=left))
                left = 0
            elif isinstance(operator, EntryAttention) and kept.entries:
                # Those that are summed up, and those that only their scores are wanted of.
                size, pending, overlap = kept.entries[0 if operator.name.endswith("attention.entries") else -1]
                done.append(replace(operator, cache_elements=size, pending=pending, overlap=overlap))
            elif isinstance(operator, SourceAttention) and source:
                done.append(replace(operator, cache_elements=source))
                source = 0
            elif isinstance(operator, CrossAttention) and crossing:
                done.append(replace(operator, cache_elements=crossing // operator.keys))
                crossing = 0
            else:
                done.append(operator)
        if left:
            done.append(Attention("cache", 0, 0, 0, left, window=kept.window, chunked=kept.chunked))
        seen = sum(op.state_elements() for op in operators if isinstance(op, Recurrence | CausalConvolution))
        states = [(name, size, single) for name, size, single in kept.fixed if name not in ("keys", "values")]
        if states and sum(size for _, size, _ in states) != seen:
            done = [op for op in done if not isinstance(op, Recurrence)] if seen else done
            for name, size, single in states:
                if not any(isinstance(op, CausalConvolution) and op.state_elements() == size for op in operators):
                    done.append(Recurrence(name, size, 0, 0, "float32" if single else "activations"))
        return done

    def rest(self, prefix: str, touched: frozenset[str], later: frozenset[str] | None = None) -> list[Operator]:
        """The parameters under a path that no product has claimed: used element by element, or not at all.

        Args:
            later: what a step uses; None where there are no steps.
        """
        sums: dict[tuple[str, bool, bool], int] = defaultdict(int)
        for name, shape in self.sizes.items():
            if name in self.used or not (name == prefix or name.startswith(f"{prefix}.") or not prefix):
                continue
            self.used.add(name)
            size = 1
            for side in shape:
                size *= side
            module = name.rpartition(".")[0][len(prefix) :].lstrip(".") or "self"
            once = later is not None and name in touched and name not in later
            sums[module, name not in touched, once] += size
        return [Vector(name, size, skipped, once) for (name, skipped, once), size in sums.items()]

    def idle(self) -> list[Block]:
        """Modules that no pass has entered: their weights are held and not read."""
        made: list[Operator] = []
        for path, module in self.modules.items():
            weight = f"{path}.weight"
            if self._own(weight) is None:
                continue
            if isinstance(module, nn.Linear):
                self.used.add(weight)
                made.append(Linear(path, module.in_features, module.out_features, self._bias(weight), rows=0))
            elif isinstance(module, nn.Embedding):
                self.used.add(weight)
                made.append(Table(path, module.num_embeddings, module.embedding_dim, gathered=0))
        made.extend(self.rest("", frozenset()))
        return [Block("not run", tuple(made))] if made else []


def _numbered(operators: Sequence[Operator]) -> list[Operator]:
    """The same operators with names that differ."""
    seen: dict[str, int] = defaultdict(int)
    done: list[Operator] = []
    for operator in operators:
        seen[operator.name] += 1
        count = seen[operator.name]
        done.append(replace(operator, name=f"{operator.name}#{count}") if count > 1 else operator)  # type: ignore[type-var]
    return done


def _stacks(built: Built) -> list[str]:
    """Paths of the lists of layers, in the model's order."""
    return list(dict.fromkeys(path.rpartition(".")[0] for path in built.layers if path.rpartition(".")[2].isdigit()))


def _place(path: str, stacks: Sequence[str]) -> tuple[str, int | None]:
    """The stack and layer that a path lies in, else the module it stands for outside of them."""
    for name in stacks:
        if path.startswith(f"{name}."):
            return name, int(path[len(name) + 1 :].split(".", maxsplit=1)[0])
    return path, None


def blocks_of(describer: Describer, passes: Sequence[Traced], *, vision: bool = False) -> tuple[Block, ...]:
    """Blocks in the order in which the first pass runs them; equal layers are one block.

    Raises:
        ConfigError: a count that operators cannot express.
    """
    built, stacks = describer.built, _stacks(describer.built)
    touched = frozenset(name for traced in passes for name in traced.touched)
    places: dict[tuple[str, int | None], list[Group]] = {}
    for path, groups in aligned(passes).items():
        places.setdefault(_place(path, stacks), []).extend(groups)
    for name in (name for name in describer.sizes if name in touched):
        places.setdefault(_place(name.rpartition(".")[0], stacks), [])
    later = None if vision else frozenset(name for traced in passes[2:] for name in traced.touched)
    decoder = describer.decoder
    cached = len(describer.probed.cache) if describer.probed and describer.probed.cache else 0
    deep = {name for name, layer in places if layer == cached - 1 and name.startswith(decoder)}
    layers: dict[str, dict[int, tuple[Operator, ...]]] = defaultdict(dict)
    order: list[tuple[str, tuple[Operator, ...] | None]] = []
    try:
        for (name, layer), groups in places.items():
            prefix = name if layer is None else f"{name}.{layer}"
            made = describer.operators(groups, prefix, vision=vision)
            if layer is not None and name in deep and not vision:
                made = describer.with_cache(made, layer)
            made = _numbered([*made, *describer.rest(prefix, touched, later)])
            if layer is None:
                order.append((name, tuple(made)))
            else:
                if name not in layers:
                    order.append((name, None))
                layers[name][layer] = tuple(made)
    except NotExpressible as error:
        raise ConfigError(
            f"{built.where}: tracing cannot tell what grows with what in {error}",
            "no figure is given rather than a wrong one",
        ) from error
    blocks: list[Block] = []
    for name, operators in order:
        if operators is not None:
            blocks.append(Block(name or "model", operators))
        else:
            own = layers[name]
            blocks.extend(stack([("layer", own[index]) for index in sorted(own)], name))
    return _head_last([block for block in blocks if block.operators], describer.head)


def _head_last(blocks: list[Block], head: str | None) -> tuple[Block, ...]:
    last = [block for block in blocks if block.name == head]
    return (*(block for block in blocks if block.name != head), *last)
