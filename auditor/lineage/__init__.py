"""Whose weights a model was made from: checkpoints by digest, declared ancestors, and totals over all of them.

`files` takes the digests of checkpoints, `declared` reads what a person says of models, `graph` is the pure logic
(who descends from whom, each run counted once), and `gather` makes its nodes and edges from ledgers.
"""
