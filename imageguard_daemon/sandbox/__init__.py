"""HOSTILE BYTES: confined processes that decode, for whoever measures, draws or makes thumbnails."""
