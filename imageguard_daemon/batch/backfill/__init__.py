"""Millions of images judged from a list, in shards on any executor; docs/backfill.md says how.

`score_shard` and the `Shard` it takes may be used by themselves.
"""
