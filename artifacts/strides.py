"""Strides of 32 bytes for kernels that go over JSON: which bytes of one stand for themselves, and a
copy of it.

    # 0 to 32: bytes from ``at`` on before the first quote, backslash or control character
    clean = plain_bytes(data, at)
    copy_stride(data, at, out, place)     # out[place : place + 32] = data[at : at + 32]

numba compiles a loop over so few bytes to one comparison after the other. Here the vectors are
written out, and LLVM has an instruction or two for each on any processor. Nothing is checked: both
arrays must hold the whole stride.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.jit import kernel  # before numba: it sets the cache folder

# isort: split
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

Bytes = NDArray[np.uint8]

STRIDE = 32

_VECTOR = ir.VectorType(ir.IntType(8), STRIDE)


@kernel
def plain_bytes(data: Bytes, at: int) -> int:
    """How many bytes from a place on, at most 32, a JSON string holds as they are."""
    count: int = _plain_bytes(data, at)
    return count


@kernel
def copy_stride(data: Bytes, at: int, out: Bytes, place: int) -> None:
    """Copy 32 bytes."""
    _copy_stride(data, at, out, place)


def _typed_plain_bytes(typing_context: Any, data: Any, at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = builder.load(_stride(context, builder, signature.args[0], *arguments), align=1)
        marks = builder.icmp_unsigned("<", vector, _repeated(0x20))
        for sign in b'"\\':
            marks = builder.or_(marks, builder.icmp_unsigned("==", vector, _repeated(sign)))
        bits = builder.bitcast(marks, ir.IntType(STRIDE))
        return builder.zext(builder.cttz(bits, ir.Constant(ir.IntType(1), 0)), ir.IntType(64))

    return types.int64(data, types.int64), generate


def _typed_copy_stride(typing_context: Any, data: Any, at: Any, out: Any, place: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = builder.load(_stride(context, builder, signature.args[0], *arguments[:2]), align=1)
        builder.store(vector, _stride(context, builder, signature.args[2], *arguments[2:]), align=1)
        return context.get_dummy_value()

    return types.void(data, types.int64, out, types.int64), generate


_plain_bytes: Any = intrinsic(_typed_plain_bytes)
_copy_stride: Any = intrinsic(_typed_copy_stride)


def _stride(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    """Pointer to the stride that begins there."""
    first = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(first, [at]), _VECTOR.as_pointer())


def _repeated(byte: int) -> Any:
    return ir.Constant(_VECTOR, [byte] * STRIDE)
