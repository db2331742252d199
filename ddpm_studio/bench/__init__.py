"""How fast this machine is and what the program makes of it: ``ddpm-studio bench``.

Each section is a function that yields its result, plain numbers in a dataclass, again and again as it grows; ``report``
puts them together, ``tables`` makes them readable. What counts are ratios of things measured in turn in one run.
"""
