"""What devices reach, measured or assumed: the rates that floors are computed with.

Device.parse("H200")                      Device.parse("H200:copy=4.1,matmul=760")
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from artifacts.errors import UserError

Precision = Literal["bf16", "fp32", "float8"]
TERA = 1e12


@dataclasses.dataclass(frozen=True)
class Device:
    """What a device reaches: ``copy`` bytes/s, read and written together; operations/s of products
    (``matmul`` in bf16 on random data, ``float32``, ``float8``) and of causal ``attention`` with
    heads of 64; ``peak`` is the datasheet's, dense bf16.

    ``known`` says where the figures come from.
    """

    name: str
    copy: float
    matmul: float
    peak: float
    attention: float
    float32: float
    float8: float
    known: str

    @classmethod
    def parse(cls, text: str) -> Device:
        """``H200``, or one with figures of your own: ``H200:copy=4.1,matmul=760`` in TB/s and
        TFLOP/s. Raises: UserError.
        """
        name, _, given = text.partition(":")
        if name not in DEVICES:
            raise UserError(
                "no such device",
                parameter="device",
                found=name,
                allowed=DEVICES,
                fix="give figures: H100:copy=2.9,matmul=650",
            )
        device = DEVICES[name]
        changes: dict[str, Any] = dict(_figure(part) for part in given.split(",") if part)
        if not changes:
            return device
        return dataclasses.replace(
            device, **changes, known=f"{', '.join(changes)} as given; the rest: {device.known}"
        )

    def rate(self, precision: Precision) -> float:
        """Operations/s of the layers' products."""
        return {"bf16": self.matmul, "fp32": self.float32, "float8": self.float8}[precision]


def _figure(text: str) -> tuple[str, float]:
    """``copy=4.1`` in tera."""
    names = ("copy", "matmul", "peak", "attention", "float32", "float8")
    name, _, value = text.strip().partition("=")
    if name not in names:
        raise UserError(
            "a device has no such figure", parameter="device", found=name, allowed=names
        )
    try:
        figure = float(value)
    except ValueError:
        figure = 0.0
    if not 0 < figure < 1e6:
        raise UserError(
            "a device's figure is a positive number, in TB/s or TFLOP/s",
            parameter=("device", name),
            found=value or "nothing",
        )
    return name, figure * TERA


DEVICES: dict[str, Device] = {
    device.name: device
    for device in (
        Device(
            *("H200", 4.3 * TERA, 790 * TERA, 989 * TERA, 400 * TERA, 50 * TERA, 1400 * TERA),
            known=(
                "copy and matmul measured; attention is that of published kernels; float32 and "
                "float8 assumed"
            ),
        ),
        Device(
            *("H100", 3.0 * TERA, 750 * TERA, 989 * TERA, 400 * TERA, 50 * TERA, 1400 * TERA),
            known=(
                "assumed: 90% of the datasheet's bandwidth, 76% of its peak; attention is that of "
                "published kernels"
            ),
        ),
        Device(
            *("A100", 1.8 * TERA, 250 * TERA, 312 * TERA, 150 * TERA, 18 * TERA, 0.0),
            known=(
                "assumed: 90% of the 80 GB datasheet's bandwidth, 80% of its peak, half for "
                "attention; no 8-bit floats"
            ),
        ),
    )
}
