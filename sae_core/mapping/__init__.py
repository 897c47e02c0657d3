"""What a map is made of: its points, their neighbours, where they lie, what lies together, how far to trust it."""
