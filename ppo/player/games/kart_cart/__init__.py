"""Kart Cart: a small SNES cartridge, built from source, that the tests and the examples run on the emulator.

It lets the emulator code be tested without anybody's ROM. A reader of the algorithm can skip this package.
"""
