"""TokenIndex.packed: of neighbouring tokens, the features whose strongest examples peak on each.

version, flags (uint8); of each token how many features (uint32)
token by token their indexes, rising (uint16, or uint32 where flags say so)
"""

import struct

VERSION = 1
TOKENS = 16  # whose features share a row, which costs as much as a dozen features
HEAD = struct.Struct(f"<BB{TOKENS}I")
WIDE = 1  # flag


def features_on(data: bytes, token: int) -> list[int]:
    version, flags, *counts = HEAD.unpack_from(data)
    if version != VERSION:
        raise ValueError(f"packed by version {version}; this release reads {VERSION}")
    kind, number = "I" if flags & WIDE else "H", token % TOKENS
    start = HEAD.size + sum(counts[:number]) * struct.calcsize(f"<{kind}")
    return list(struct.unpack_from(f"<{counts[number]}{kind}", data, start))
