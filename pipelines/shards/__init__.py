"""Selected documents -> tokenizer -> token shards; splits; take-downs. The recipe parts it carries
out live here, as `trainer/loop/settings.py` and `mixtures/spec/` do on their floors. The file names
say "split", a band alone is MinHash's, the other is always a "quality band".
"""
