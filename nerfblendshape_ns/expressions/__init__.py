"""Expression coefficients from outside: tracks from files, live protocols, retargeting to another person."""
