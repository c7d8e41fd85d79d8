"""A vector of sixteen float32 numbers as one numba value: inner loops become vector code on every machine.

LLVM's own vectoriser gives up on these loops: it cannot know that the arrays do not overlap, and the loops are short.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, lower_cast, models, register_model

LANES = 16
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_INDICES = ir.VectorType(ir.IntType(32), LANES)
_FLAGS = ("contract",)  # fused multiply-add; nothing that would change the order of sums


class VectorType(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Vector")


vector: Any = VectorType()


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: types.Type) -> None:
        super().__init__(manager, kind, _VECTOR)


def _intrinsic(rule: Callable[..., Any]) -> Any:
    """numba's decorator, for functions that compiled code calls without the typing context."""
    return intrinsic(rule)


def _broadcast(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_INDICES, [0] * LANES))


@lower_cast(types.Float, VectorType)
def _float_to_vector(context: Any, builder: ir.IRBuilder, from_type: Any, to_type: Any, value: ir.Value) -> ir.Value:
    return _broadcast(builder, context.cast(builder, value, from_type, types.float32))


def _arithmetic(symbol: Any, instruction: str) -> None:
    @infer_global(symbol)
    class _Rule(AbstractTemplate):
        def generic(self, arguments: tuple, keywords: dict) -> Any:
            known = all(kind is vector or isinstance(kind, types.Float) for kind in arguments)
            return signature(vector, vector, vector) if len(arguments) == 2 and vector in arguments and known else None

    @lower_builtin(symbol, vector, vector)
    def _lower(context: Any, builder: ir.IRBuilder, sig: Any, arguments: Any) -> ir.Value:
        return getattr(builder, instruction)(*arguments, flags=_FLAGS)


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")
_arithmetic(operator.truediv, "fdiv")


def _select(comparison: str, name: str, about: str) -> Any:
    """An intrinsic `f(x, y, a, b)`: in each lane a where the comparison of x with y holds, else b."""

    def rule(typing_context: Any, x: Any, y: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, sig: Any, arguments: Any) -> ir.Value:
            left, right, yes, no = arguments
            return builder.select(builder.fcmp_ordered(comparison, left, right), yes, no)

        return vector(vector, vector, vector, vector), generate

    rule.__name__, rule.__doc__ = name, about
    return _intrinsic(rule)


where_less = _select("<", "where_less", "a where x < y, else b")
where_at_least = _select(">=", "where_at_least", "a where x >= y, else b")


@_intrinsic
def spread(typing_context: Any, value: Any) -> Any:
    """One number in all lanes."""

    def generate(context: Any, builder: ir.IRBuilder, sig: Any, arguments: Any) -> ir.Value:
        return _broadcast(builder, arguments[0])

    return vector(types.float32), generate


def _address(context: Any, builder: ir.IRBuilder, array_type: Any, array: ir.Value, index: ir.Value) -> ir.Value:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


@_intrinsic
def load(typing_context: Any, array: Any, index: Any) -> Any:
    """Sixteen numbers of a flat contiguous float32 array, from `index` on."""

    def generate(context: Any, builder: ir.IRBuilder, sig: Any, arguments: Any) -> ir.Value:
        return builder.load(_address(context, builder, sig.args[0], *arguments), align=4)

    return vector(array, types.intp), generate


@_intrinsic
def store(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """Write sixteen numbers into a flat contiguous float32 array, from `index` on."""

    def generate(context: Any, builder: ir.IRBuilder, sig: Any, arguments: Any) -> ir.Value:
        target = _address(context, builder, sig.args[0], arguments[0], arguments[1])
        builder.store(arguments[2], target, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


def _fold(builder: ir.IRBuilder, value: ir.Value, join: Callable[[ir.Value, ir.Value], ir.Value]) -> ir.Value:
    """Join halves until one lane is left: always in the same order."""
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    width = LANES // 2
    while width:
        mask = [(lane + width) % LANES for lane in range(LANES)]
        value = join(value, builder.shuffle_vector(value, undefined, ir.Constant(_INDICES, mask)))
        width //= 2
    return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))


@_intrinsic
def total(typing_context: Any, value: Any) -> Any:
    """The sum of the lanes."""

    def generate(context: Any, builder: ir.IRBuilder, sig: Any, arguments: Any) -> ir.Value:
        return _fold(builder, arguments[0], lambda a, b: builder.fadd(a, b))

    return types.float32(vector), generate


@_intrinsic
def largest(typing_context: Any, value: Any) -> Any:
    """The largest of the lanes."""

    def generate(context: Any, builder: ir.IRBuilder, sig: Any, arguments: Any) -> ir.Value:
        return _fold(builder, arguments[0], lambda a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b))

    return types.float32(vector), generate
