"""How a map that was laid out becomes what pages show: its columns, tiles, pictures of density, names of clusters."""
