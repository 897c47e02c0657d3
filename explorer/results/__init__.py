"""What came out of a study, as plain values: of features beside each kind of control, of annotators, of single items.

An item's total is the mean of what its annotators gave. Scores beyond the seats count as all others do, and are told
apart by how many they are.
"""
