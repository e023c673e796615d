"""What the tests of driving agree on."""

NUM_FRAMES = 20
