"""MOVE: where a judged file goes, and how it gets there without being lost or overwriting another."""
