"""Batches handed to people, to DFT and to the laboratory, and their answers taken back."""
