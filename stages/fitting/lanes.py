"""Sixteen float32 numbers as one numba value, so that the raster's inner loops are vector code on every machine.

LLVM's own vectoriser gives up on them: it cannot know that the arrays do not overlap, and the trips are short.
"""

from __future__ import annotations

import operator
from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, lower_cast, models, register_model

LANES = 16
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_FLAGS = ("contract",)  # fused multiply-add; nothing that would change with the order of sums


class LanesType(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Lanes")


lanes = LanesType()


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: types.Type) -> None:
        super().__init__(manager, kind, _VECTOR)


def _broadcast(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


@lower_cast(types.Float, LanesType)
def _float_to_lanes(context, builder, from_type, to_type, value):
    return _broadcast(builder, context.cast(builder, value, from_type, types.float32))


def _arithmetic(symbol: Any, instruction: str) -> None:
    @infer_global(symbol)
    class _Rule(AbstractTemplate):
        def generic(self, arguments: tuple, keywords: dict) -> Any:
            known = all(kind is lanes or isinstance(kind, types.Float) for kind in arguments)
            return signature(lanes, lanes, lanes) if len(arguments) == 2 and lanes in arguments and known else None

    @lower_builtin(symbol, lanes, lanes)
    def _lower(context, builder, sig, arguments):
        return getattr(builder, instruction)(*arguments, flags=_FLAGS)


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")
_arithmetic(operator.truediv, "fdiv")


def _select(comparison: str, name: str, about: str) -> Any:
    """An intrinsic `f(x, y, a, b)`: lane by lane a where x compares so to y, else b."""

    def rule(typing_context, x, y, a, b):
        def generate(context, builder, sig, arguments):
            left, right, yes, no = arguments
            return builder.select(builder.fcmp_ordered(comparison, left, right), yes, no)

        return lanes(lanes, lanes, lanes, lanes), generate

    rule.__name__, rule.__doc__ = name, about
    return intrinsic(rule)


where_less = _select("<", "where_less", "a where x < y, else b")
where_at_least = _select(">=", "where_at_least", "a where x >= y, else b")


@intrinsic
def spread(typing_context, value):
    """One number in all lanes."""

    def generate(context, builder, sig, arguments):
        return _broadcast(builder, arguments[0])

    return lanes(types.float32), generate


def _address(context: Any, builder: ir.IRBuilder, array_type: Any, array: ir.Value, index: ir.Value) -> ir.Value:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


@intrinsic
def load(typing_context, array, index):
    """Sixteen numbers of a flat contiguous float32 array from `index` on."""

    def generate(context, builder, sig, arguments):
        return builder.load(_address(context, builder, sig.args[0], *arguments), align=4)

    return lanes(array, types.intp), generate


@intrinsic
def store(typing_context, array, index, value):
    """Put sixteen numbers into a flat contiguous float32 array from `index` on."""

    def generate(context, builder, sig, arguments):
        target = _address(context, builder, sig.args[0], arguments[0], arguments[1])
        builder.store(arguments[2], target, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


def _fold(builder: ir.IRBuilder, value: ir.Value, join: Any) -> ir.Value:
    """Join halves until one lane is left: always in the same order."""
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    index = ir.VectorType(ir.IntType(32), LANES)
    width = LANES // 2
    while width:
        mask = [(lane + width) % LANES for lane in range(LANES)]
        value = join(value, builder.shuffle_vector(value, undefined, ir.Constant(index, mask)))
        width //= 2
    return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))


@intrinsic
def total(typing_context, value):
    """The sum over the lanes."""

    def generate(context, builder, sig, arguments):
        return _fold(builder, arguments[0], lambda a, b: builder.fadd(a, b))

    return types.float32(lanes), generate


@intrinsic
def largest(typing_context, value):
    """The largest of the lanes."""

    def generate(context, builder, sig, arguments):
        return _fold(builder, arguments[0], lambda a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b))

    return types.float32(lanes), generate
