"""Sparse autoencoders in torch and numpy: tensors in, tensors out. Knows nothing of Django, rows or users."""
