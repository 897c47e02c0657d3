BIGGEST_ID = 2**63 - 1  # of a row
BIGGEST_INDEX = 2**31 - 1  # of a latent
