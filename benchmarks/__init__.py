"""How fast turntree is beside its peers and beside the bare wire: `make bench`."""
