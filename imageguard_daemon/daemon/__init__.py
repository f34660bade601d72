"""DRIVES ALL: the daemon's life, its workers, and one image's trip through the stages."""
