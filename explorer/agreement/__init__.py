"""How far annotators agree on the same items: plain numbers in, figures with their intervals out.

An item counts where it has two scores or more; what has fewer says nothing of agreement and is left out of every
figure. What is resampled is features, as the items of one are not independent of each other.
"""
