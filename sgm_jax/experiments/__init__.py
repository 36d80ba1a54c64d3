"""Experiments whose objective is another than score matching at one network: one file each."""
