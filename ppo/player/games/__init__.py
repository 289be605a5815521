"""The games; registry.py finds one by name. mode7/ is built in, retro/ the emulator, kart_cart/ our own cartridge."""
