from tests.explored import explored, read, with_weights

__all__ = ["explored", "read", "with_weights"]
