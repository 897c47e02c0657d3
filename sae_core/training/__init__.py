"""Training: how one SAE learns, where its activations come from, what survives a kill."""
