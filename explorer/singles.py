"""Numbers of single precision, as RealField keeps them."""

import math
import struct

FORM = struct.Struct("<f")
BITS = struct.Struct("<i")
LARGEST = 3.4e38


def single(number: float) -> float:
    """The nearest of them."""
    (near,) = FORM.unpack(FORM.pack(number))
    return float(near)


def after(number: float) -> float:
    """The next above one of them."""
    if number == 0:
        return float(FORM.unpack(BITS.pack(1))[0])
    (bits,) = BITS.unpack(FORM.pack(number))
    (above,) = FORM.unpack(BITS.pack(bits + (1 if math.copysign(1, number) > 0 else -1)))
    return float(above)


def before(number: float) -> float:
    return -after(-number)
