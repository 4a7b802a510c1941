"""Damaged and hostile files against the parsers that users' files go through.

A case is a kind of file and a seed. The kind makes the file from the seed (`FuzzKind.make`) and
gives it to the same functions that the commands use (`FuzzKind.check`). Cases run in a worker
process with limits of processor time and memory, and with a home and a folder for temporary files
of its own.

``python -m tests.fuzz --cases 10000 --seed 0`` runs them and prints a table.
"""
