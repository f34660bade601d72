"""LOOK: pixels to the numbers that the readout reads, a module a signal; pure."""
