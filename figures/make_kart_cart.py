"""Makes figures/kart_cart.png: the three tracks of Kart Cart on the emulator, full screens next to each other.

python figures/make_kart_cart.py
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torchvision.io import write_png

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "ppo"))
from player.common.errors import run_script  # noqa: E402
from player.games.registry import find_game, find_tracks  # noqa: E402
from player.games.retro.roms import KART_CART  # noqa: E402

SCREEN = (0, 0, 256, 224)  # x, y, width, height
# Track -> actions and how often each is repeated: 1 is forward, 5 is forward and right.
ACTIONS = {
    "MeadowCircuit": ((1, 12), (5, 2), (1, 10), (5, 4)),
    "CoralCove": ((1, 22), (5, 5)),
    "AuroraLake": ((1, 19), (5, 3)),
}


def main() -> None:
    assert set(ACTIONS) <= {track["state"] for track in find_tracks(KART_CART, states="all")[1]}
    screens = []
    for state, actions in ACTIONS.items():
        env = find_game(KART_CART, state=state, crop=SCREEN).make(frame_skip=4)
        frame, _ = env.reset()
        for action, repeats in actions:
            for _ in range(repeats):
                frame, *_ = env.step(action)
        screens.append(frame.copy())
        env.close()
    path = HERE / "kart_cart.png"
    write_png(torch.from_numpy(np.concatenate(screens, axis=1)).permute(2, 0, 1).contiguous(), str(path))
    print(f"wrote {path}")


if __name__ == "__main__":
    run_script(main)
