"""Remakes the readout of `imageguard_daemon.quality` from a folder of good photos; see docs/training.md."""
