"""Tokens on disk. Text <-> ids stays in the root: train, encode, chat, vocabulary, words,
sentences, sample, report.
"""
