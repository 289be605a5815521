"""Where training gets its contexts: many walks through the recording, on which the model sees more and more of itself.

When it plays, the model's context is what it has dreamed. In training, too, then: a walk begins with a context of real
latents; whenever it is drawn and what the model makes of it is a frame as play would show it, that frame goes into the
walk's context and the walk moves on by one. So contexts many dreamed frames old cost no pass of the network beyond
those that are learned from. The target is always the real latent. (Scheduled sampling, Bengio et al. 2015, arXiv
1506.03099, on a pool: a walk's frames are as old as its last draw, a few steps of the optimizer.)

Where a player takes a dream, no recording has been. So some walks go astray at their end: they keep their context and
go on by the keys of another moment of the recording, before which the same keys were pressed. What they should have
dreamed nobody knows; the discriminator alone judges whether it could be of the game.
"""

import torch
from torch import Tensor

from dream.common.device import mask_indices, to_device
from dream.data.latents import gather_windows
from dream.models.diffusion import masked_mean
from dream.models.rollout import suppress_small_changes

BATCHES_IN_POOL = 16  # a walk is drawn once in so many steps on average: batches are not of the same moments
SPREAD = 4.0  # a walk's patience is from so much less to so much more than the usual one


def rollout_length_schedule(longest: int, begin: float, progress: float) -> float:
    """By how many frames of its own a walk goes on at `progress` (0-1) of a training whose walks set out at `begin`: 0
    until then; from 1, by equal factors, to the `longest` when three quarters of the rest are done. A model that has
    just begun soon loses the recording's course, and beside it there is nothing to learn."""
    if not longest or progress <= begin:
        return 0.0
    return longest ** min(1.0, (progress - begin) / (0.75 * (1 - begin)))


class RolloutPool:
    """P walks. Their contexts are kept in half precision on the device."""

    def __init__(
        self,
        latents: Tensor,
        actions: Tensor,
        starts: Tensor,
        batch_size: int,
        context: int,
        device: torch.device,
        generator: torch.Generator,
        change_threshold: float = 0.0,
        astray_share: float = 0.0,
    ) -> None:
        """latents (N, T, C, h, w) and actions (N, T) of a recording; starts (M, 2): row and t of every window of
        `context` + 1 latents that may be trained on; context: L; dead_zone: of the model that dreams;
        astray_share: of the walks that end with a frame as played, those that go astray."""
        self.latents, self.actions, self.starts = latents, actions, starts
        self.batch_size, self.L, self.device, self.generator = batch_size, context, device, generator
        self.change_threshold, self.astray_share = change_threshold, astray_share
        self.allowed = torch.zeros(actions.shape, dtype=torch.bool)
        self.allowed[starts[:, 0], starts[:, 1]] = True
        P = batch_size * BATCHES_IN_POOL
        self.where = torch.zeros(P, 2, dtype=torch.int64)  # row and t of each walk's window
        self.age = torch.zeros(P, dtype=torch.int64)  # how many frames it has dreamed
        self.astray = torch.zeros(P, dtype=torch.bool)
        # Short walks are near enough to the recording to learn its course from, long ones show where a dream goes.
        self.patience = SPREAD ** torch.linspace(-1, 1, P)
        self.said_in_order, self.by_said = torch.sort(self.said(starts))  # (M,), for `go_astray`
        self.length = 0.0  # frames that a walk goes on by, the most so far
        self.begin_error = torch.tensor(
            torch.inf, device=device
        )  # mean squared error of late of walks that begin
        self.contexts = torch.zeros(
            P, context, *latents.shape[2:], dtype=torch.float16, device=device
        )  # (P, L, C, h, w)
        self.restart(torch.arange(P))

    def restart(self, walks: Tensor) -> None:
        """Walks (any number of indices) go to windows drawn anew, with contexts of real latents."""
        chosen = torch.randint(len(self.starts), (len(walks),), generator=self.generator)
        self.where[walks] = self.starts[chosen]
        self.age[walks], self.astray[walks] = 0, False
        windows, _ = gather_windows(self.latents, self.actions, self.where[walks], self.L, self.device)
        self.contexts[to_device(walks, self.device)] = windows.half()

    def said(self, where: Tensor) -> Tensor:
        """(M,): one number for the L - 1 actions before the last one of windows at where (M, 2)."""
        times = where[:, 1:] + torch.arange(self.L - 1)
        actions = self.actions[where[:, :1], times.clamp(max=self.actions.shape[1] - 1)].long()
        return (actions * (int(self.actions.max()) + 1) ** torch.arange(self.L - 1)).sum(dim=1)

    def go_astray(self, walks: Tensor) -> None:
        """Walks (any number of indices) go to windows drawn anew that begin by the actions that theirs have seen; where
        there is none, to any."""
        said = self.said(self.where[walks])
        first = torch.searchsorted(self.said_in_order, said)
        end = torch.searchsorted(self.said_in_order, said, right=True)
        first, end = torch.where(first < end, first, 0), torch.where(first < end, end, len(self.starts))
        chosen = first + (torch.rand(len(walks), generator=self.generator) * (end - first)).long()
        self.where[walks] = self.starts[self.by_said[chosen]]
        self.astray[walks] = True

    def draw(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Different walks (B,); their contexts (B, L, C, h, w), actions (B, L), and the real latents of those moments
        and the next, (B, L + 1, C, h, w)."""
        walks = torch.randperm(len(self.where), generator=self.generator)[: self.batch_size]
        windows, actions = gather_windows(
            self.latents, self.actions, self.where[walks], self.L + 1, self.device
        )
        return walks, self.contexts[to_device(walks, self.device)].float(), actions[:, :-1], windows

    def advance(
        self,
        walks: Tensor,
        dreamed: Tensor,
        as_played: Tensor,
        own_frames: float,
        target: Tensor | None = None,
    ) -> None:
        """What the model made of the walks (B,) that were drawn: latents `dreamed` (B, C, h, w), of which `as_played`
        (B,) bool tells those that began at pure noise. A walk ends once in own_frames + 1 draws, on average, some up to
        SPREAD times sooner or later; with 0 all do, always. target: the real latents (B, C, h, w), for
        `usual_error`."""
        stay = torch.rand(len(walks), generator=self.generator) >= 1 / (own_frames * self.patience[walks] + 1)
        if target is not None:
            begun = as_played & (self.age[walks] == 0)
            if begun.any():
                errors = (dreamed.detach() - target).pow(2).mean(dim=(1, 2, 3))
                late = masked_mean(errors, to_device(begun, self.device))
                first = self.begin_error.isinf()
                self.begin_error = torch.where(first, late, self.begin_error.lerp(late, 0.02))
        self.where[walks, 1] += as_played.long()
        inside = self.where[walks, 1] < self.allowed.shape[1]
        inside &= self.allowed[
            self.where[walks, 0], self.where[walks, 1].clamp(max=self.allowed.shape[1] - 1)
        ]
        leave = torch.rand(len(walks), generator=self.generator) < self.astray_share
        leave &= as_played & ~(stay & inside) & ~self.astray[walks] & (own_frames > 0)
        on = as_played & stay & inside | leave
        go_on = walks[on]
        self.age[go_on] += 1
        cache_on_device = to_device(go_on, self.device)
        context = self.contexts[cache_on_device]
        new = dreamed[mask_indices(on, self.device)].detach()
        new = suppress_small_changes(new, context[:, -1].float(), self.change_threshold)
        self.contexts[cache_on_device] = torch.cat([context[:, 1:], new[:, None].half()], dim=1)
        self.go_astray(walks[leave])
        self.restart(walks[~(stay & inside | leave)])

    def usual_error(self, walks: Tensor) -> Tensor:
        """(B,): for walks (B,) that have dreamed, the mean squared error of late of those that begin; else infinity.
        What a dream that is beside the recording is told it should have made would teach it to blur."""
        return torch.where(to_device(self.age[walks] > 0, self.device), self.begin_error, torch.inf)

    def state(self) -> dict:
        return {
            "length": self.length,
            "begin_error": self.begin_error.cpu(),
            "where": self.where,
            "age": self.age,
            "astray": self.astray,
            "contexts": self.contexts.cpu(),
        }

    def restore(self, state: dict) -> None:
        self.length = state.get("length", 0.0)  # not in runs of before walks grew
        self.where, self.age = state["where"].clone(), state["age"].clone()
        self.begin_error, self.astray = (
            state["begin_error"].to(self.device, copy=True),
            state["astray"].clone(),
        )
        self.contexts = state["contexts"].to(self.device, copy=True)
