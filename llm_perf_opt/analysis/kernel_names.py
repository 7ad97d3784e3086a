"""What a kernel is called: one short name, one category and one identity for what nsys, ncu and torch spell apart.

nsys: `void at::native::reduce_kernel<(int)512, …, [lambda() (instance 3)]::operator ()() const …>(T3)`; torch:
`…<512, …, {lambda()#3}::operator()() const …>(at::native::ReduceOp<…>)`; ncu leaves out namespaces and some brackets.
The identity is the name of the function and its template arguments without what they spell differently.
"""

from __future__ import annotations

import functools
import re

COMMUNICATION = "communication"

RULES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (category, re.compile(pattern, re.IGNORECASE))
    for category, pattern in (
        (
            COMMUNICATION,
            r"nccl|rccl|msccl|oneccl|nvshmem|symm_?mem|multimem_|deep_?ep|"
            r"all_?reduce|all_?gather|reduce_?scatter|all_?to_?all|cross_device_reduce|quick_?reduce|one_shot_|two_shot_|"
            r"lamport|userbuffers|push_send|pull_recv",
        ),
        ("cache", r"reshape_and_cache|kv_?cache|concat_and_cache"),
        (
            "attention",
            r"flash|fmha|attention|\battn|_attn|sdpa|paged_?kv|\bmla_|BatchPrefill|BatchDecode|decode_grouped_att",
        ),
        ("convolution", r"conv(?!ert)|implicit_gemm|fprop|dgrad|wgrad|winograd|fft2d|im2col"),
        (
            "GEMM",
            r"(?<!fb)gemm|gemv|nvjet|Cijk_|matmul|cutlass\w*_tensorop|scudnn|splitK|wmma|_mm_|\bmm_|dot_kernel|"
            r"cublas\w*gemv|bmm_|ck_tile::\w*gemm",
        ),
        ("mixture of experts", r"\bmoe\b|moe_|routing|topk_forward|bitmatrix|expert"),
        ("norm", r"(?:layer|rms|batch|group|instance)_?norm|norm2d|\bbn_(?:fw|bw)|norm_kernel"),
        ("softmax", r"softmax"),
        ("position", r"rotary|rope_"),
        ("quantisation", r"quant(?:ize)?_|quantize|scaled_fp8|dequant"),
        ("sampling", r"(?<!up)sampl|multinomial|argmax|topk|TopK|distribution_"),
        ("sort", r"radix_?sort|bitonicSort|DeviceScan|cub::.*[Ss]ort|scan_"),
        ("optimizer", r"multi_tensor_apply|adam|optimizer"),
        ("Triton", r"^triton_"),
        ("embedding", r"embedding"),
        ("copy", r"copy_kernel|CatArray|Memcpy|transpose|nchwToNhwc|nhwcToNchw|permute|memcpy|_pad_"),
        ("indexing", r"index|gather|scatter|masked_fill|where_kernel"),
        ("fill", r"FillFunctor|fill_kernel|memset"),
        ("reduction", r"reduce|MeanOps|sum_functor|_sum_"),
        ("elementwise", r"elementwise|Functor|silu|gelu|relu|sigmoid|tanh|_add_|_mul_|act_and_mul"),
    )
)
"""(category, what in a name makes it one of these); the first that fits counts."""
OTHER = "other"

# Ends when every rank's part is there. A broadcast, a send or a reduction to one rank ends for itself, and exchanges
# between all are made of sends.
_SYNCHRONISES = re.compile(
    r"all_?reduce|all_?gather|reduce_?scatter|barrier|cross_device_reduce|quick_?reduce|one_shot_|two_shot_|lamport",
    re.IGNORECASE,
)

_CAST = re.compile(r"\((?:unsigned |signed )?(?:int|long|short|bool|char|long long|size_t)\)(?=-?\d)")
_SUFFIX = re.compile(r"\b(\d+)(?:ull|ul|ll|u|l)\b", re.IGNORECASE)
_LAMBDA = re.compile(r"[\[{]?\blambda\s*\([^()]*\)\s*(?:\(instance (\d+)\)|#(\d+))[\]}]?")
_OPERATOR = re.compile(r"(?:::\s*)?operator\s*\(\)\s*\(\)\s*(?:const\s*)?")
# ncu leaves out what stands before `unnamed>`, the bracket of it included.
_ANONYMOUS = re.compile(r"\(anonymous namespace\)::|(?:(?<=[:\s<,])|^)<unnamed>::|\bunnamed>::")
_WORDS = re.compile(r"\b(?:const|void|struct|class|typename)\b")
_SCOPE = re.compile(r"\b[A-Za-z_]\w*::(?=[A-Za-z_~])")
_NUMBER = re.compile(r"\d{2,}")
_MANGLED = re.compile(r"^_ZN?K?")
_LENGTH = re.compile(r"(?<!\d)(?<!L[a-z])(\d{1,3})(?=[A-Za-z_])")
_TELLING = re.compile(
    r"\b(\w*(?:Functor\w*|Ops)|\w+_kernel_cuda|\w+_kernel_impl|(?!gpu_)\w+_kernel|cutlass_\w+|\w*gemm\w*|cublas\w+Params\w*)\b"
)
_GENERIC = frozenset({
    "kernel", "Kernel", "Kernel2", "device_kernel", "elementwise_kernel", "vectorized_elementwise_kernel",
    "unrolled_elementwise_kernel", "elementwise_kernel_manual_unroll", "reduce_kernel", "globalKernel",
    "index_elementwise_kernel", "multi_tensor_apply_kernel", "kentry",
})  # fmt: skip
SHORT_LENGTH = 60


def category(name: str) -> str:
    """What kind of work a kernel does."""
    # Thousands of kernels that a compiler made differ by a number; no rule asks for more than one digit of it.
    return _category(_NUMBER.sub("00", demangled(name)))


@functools.lru_cache(maxsize=1 << 16)
def _category(function: str) -> str:
    plain = function.partition("<")[0]
    # The function's own name says more than what it is instantiated with.
    for text in (plain, function):
        found = next((found for found, pattern in RULES if pattern.search(text)), None)
        if found is not None and (text is function or found not in ("elementwise", "reduction", "indexing")):
            return found
    return OTHER


def communicates(name: str) -> bool:
    """Whether a kernel moves data between devices."""
    return category(name) == COMMUNICATION


def synchronises(name: str) -> bool:
    """Whether a kernel or call that communicates ends at one time on all ranks that take part."""
    return _SYNCHRONISES.search(name) is not None


@functools.lru_cache(maxsize=1 << 16)
def identity(name: str) -> str:
    """One name for a kernel whichever tool recorded it."""
    text = demangled(name)
    # There are thousands of names, and most have little of what is looked for: a plain search costs a tenth.
    if "anonymous" in text or "unnamed" in text:
        text = _ANONYMOUS.sub("", text)
    if "lambda" in text:
        text = _LAMBDA.sub(lambda found: f"lambda{found[1] or found[2]}", text)
    if "operator" in text:
        text = _OPERATOR.sub(" ", text)
    text = text.replace("::lambda", " lambda")
    if "(" in text:
        text = _CAST.sub("", text)
    text = _SUFFIX.sub(r"\1", text)
    if "true" in text or "false" in text:
        text = re.sub(r"\btrue\b", "1", re.sub(r"\bfalse\b", "0", text))
    if "(" in text:
        text = _without_parentheses(text)
    text = _without_return_type(text)
    text = _WORDS.sub("", text)
    while (shorter := _SCOPE.sub("", text)) != text:
        text = shorter
    text = " ".join(text.replace("::", " ").replace("&", "").split())
    for mark in "<>,*":
        text = text.replace(f" {mark}", mark).replace(f"{mark} ", mark)
    return text


@functools.lru_cache(maxsize=1 << 16)
def short_name(name: str) -> str:
    """A name to read in a table: the function, and what a generic one was instantiated with."""
    text = identity(name)
    function, _, arguments = text.partition("<")
    function = function.split(" ")[-1] or text
    if function in _GENERIC and arguments:
        telling = list(dict.fromkeys(found[1] for found in _TELLING.finditer(arguments) if found[1] not in _GENERIC))
        if telling:
            function = telling[0] if telling[0].startswith("cutlass_") else f"{function} {telling[-1]}"
    return function if len(function) <= SHORT_LENGTH else function[: SHORT_LENGTH - 1] + "…"


@functools.lru_cache(maxsize=1 << 16)
def demangled(name: str) -> str:
    """The nested name in a mangled one; others as they are."""
    start = _MANGLED.match(name)
    if start is None:
        return name
    parts: list[str] = []
    rest = name[start.end() :]
    nested = "N" in start[0]
    while (found := re.match(r"(\d+)", rest)) is not None and (nested or not parts):
        length = int(found[1])
        word = rest[found.end() : found.end() + length]
        rest = rest[found.end() + length :]
        if word != "_GLOBAL__N_1":
            parts.append(word)
    return f"{'::'.join(parts)}<{_spelt_out(rest)}>" if parts else name


def _spelt_out(rest: str) -> str:
    """Mangled arguments, the names in them as words of their own."""
    found: list[str] = []
    while (number := _LENGTH.search(rest)) is not None:
        end = number.end() + int(number[1])
        word = rest[number.end() : end]
        if len(word) == int(number[1]) and word.isidentifier():
            found += [rest[: number.start()], word]
        else:  # another number
            end = number.end()
            found.append(rest[:end])
        rest = rest[end:]
    return " ".join([*found, rest])


def _without_parentheses(text: str) -> str:
    """Lists of parameters say what the template arguments do, and are spelt in three ways."""
    kept, depth = [], 0
    for character in text:
        depth += character == "("
        if not depth:
            kept.append(character)
        depth -= character == ")" and depth > 0
    return "".join(kept)


def _without_return_type(text: str) -> str:
    """What stands before the last space outside of brackets."""
    depth = start = 0
    for position, character in enumerate(text.rstrip()):
        if character == "<":
            depth += 1
        elif character == ">":
            depth = max(0, depth - 1)
        elif character == " " and not depth and position:
            start = position
    return text[start:].strip()
