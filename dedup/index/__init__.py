"""Batch by batch. Words, shingles, runs, exact, same_words, urls, ngrams stay in the root."""
