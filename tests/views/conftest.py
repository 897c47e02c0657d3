from tests.explored import explored, read, with_weights
from tests.laid_out import joint, on_map, smaller

__all__ = ["explored", "joint", "on_map", "read", "smaller", "with_weights"]
