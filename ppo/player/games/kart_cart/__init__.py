"""Kart Cart: a small SNES cartridge, built from source, to test the emulator code without a commercial ROM.

It is not needed to understand the training.
"""
