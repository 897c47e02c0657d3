"""What the pass is made of: accumulators that merge, the file of each part, and what is made of all of them."""
