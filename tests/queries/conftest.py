from tests.explored import explored, read

__all__ = ["explored", "read"]
