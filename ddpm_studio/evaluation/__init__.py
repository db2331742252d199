"""How good samples are: ``features`` of our own fixed classifier, distances between two sets of them, ``draw``."""
