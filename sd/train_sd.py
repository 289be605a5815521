"""Teaches a latent diffusion model to dream the next frame of a game from the last four frames and actions.

    python sd/train_sd.py --trajectories ppo/checkpoints/RUN/trajectories.npz --max-minutes 45
    python sd/train_sd.py --trajectories FILE --epochs 1 --epoch-samples 32      # a tiny one, seconds
    python sd/train_sd.py --trajectories FILE --max-minutes 90 --resume          # goes on, 90 minutes in all
    tensorboard --logdir sd/output_sd

Wants the encoder.pt and decoder.pt of train_autoencoder.py. Writes best.pt and, at the end, final.pt, a copy of
both and initial_sequence.npz (to play), last.pt (to go on from), metrics.csv, previews/ and latents.npy (the encoded
recording) into --output-dir.
"""

import argparse
import copy
import math
import shlex
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean

import torch
from dream.common.device import cache_on_device
from dream.common.distributed import Distributed
from dream.common.errors import InputError, run_script
from dream.common.game_info import GameInfo
from dream.common.runs import (
    MetricsLog,
    autocast,
    load_resume_state,
    pick_device,
    restore_rng_state,
    rng_state,
    save_checkpoint,
    seed_everything,
)
from dream.data.latents import encode_recording, frames_at
from dream.data.splits import split_episodes, train_windows
from dream.data.start_states import save_start_states
from dream.data.trajectories import (
    Trajectories,
    open_trajectories,
    recording_fingerprint,
    recording_prefix_fingerprint,
)
from dream.evaluation.image_grid import save_image_grid
from dream.evaluation.validation import dream_each_action, validate, validation_set
from dream.models.autoencoder import decode
from dream.models.checkpoints import (
    autoencoder_checkpoint,
    fingerprint,
    load_autoencoder,
    load_unet,
    model_checkpoint,
)
from dream.models.diffusion import LOSSES, PREDICTIONS
from dream.models.discriminator import AdversarialLoss
from dream.models.unet import GROUP, REFERENCE, UNet, UNetConfig
from dream.training.losses import (
    NOISY_CONTEXTS,
    FlowTargets,
    LossConfig,
    flow_pretraining_loss,
    training_loss,
    update_ema,
)
from dream.training.optimizer import HIDDEN, Optimizer
from dream.training.rollout_pool import RolloutPool, rollout_length_schedule
from dream.training.schedule import Budget, learning_rate
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
# Share of the budget after which the model also trains on contexts that it has dreamed itself, and is pushed by the
# discriminator; one that --init-from begins with can do so from the start.
OWN_FRAMES_FROM = 0.25
WEIGHT_DECAY = 1e-2


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    paths = parser.add_argument_group("paths")
    paths.add_argument(
        "--trajectories", default=HERE / "data" / "trajectories.npz", help="(default: %(default)s)"
    )
    paths.add_argument(
        "--autoencoder-dir", default=HERE / "output_autoencoder", help="(default: %(default)s)"
    )
    paths.add_argument("--output-dir", default=HERE / "output_sd", help="(default: %(default)s)")
    paths.add_argument("--init-from", help="a best.pt whose weights a new run begins with")
    length = parser.add_argument_group("length")
    length.add_argument("--epochs", type=int, default=100, help="epochs at the most (default: %(default)s)")
    length.add_argument(
        "--epoch-samples", type=int, default=8192, help="windows an epoch (default: %(default)s)"
    )
    length.add_argument(
        "--max-minutes",
        type=float,
        default=0,
        help="of all resumed parts (0 = no limit, default: %(default)s)",
    )
    learning = parser.add_argument_group("learning")
    learning.add_argument("--batch-size", type=int, default=16, help="windows in all (default: %(default)s)")
    learning.add_argument(
        "--learning-rate", type=float, default=1e-3, help="at its peak (default: %(default)s)"
    )
    learning.add_argument("--own-frames", type=int, default=64, help="how often the model goes on from its own last "
                          "frame, on average, before it begins anew or goes astray (0 = never, "
                          "default: %(default)s)")  # fmt: skip
    learning.add_argument("--grow", action=argparse.BooleanOptionalAction, default=True, help="walks on own frames "
                          "come to that length little by little; --no-grow: at once, for an --init-from that "
                          "has learned such walks (default: --grow)")  # fmt: skip
    learning.add_argument("--flow-first", type=float, default=0.1, metavar="SHARE", help="of the budget, in which the "
                          "motion is learned alone (default: %(default)s)")  # fmt: skip
    learning.add_argument("--discriminator", type=float, default=0.4, metavar="SHARE", help="of the other losses' "
                          "pull, how hard a discriminator pushes (0 = none, default: %(default)s)")  # fmt: skip
    learning.add_argument("--astray", type=float, default=0.5, metavar="SHARE", help="of the walks on own frames that "
                          "end, those that go on by other keys, with the discriminator alone as a judge "
                          "(default: %(default)s; none without one)")  # fmt: skip
    learning.add_argument(
        "--steps",
        type=int,
        default=1,
        help="sampling steps a frame, in play too (default: %(default)s)",
    )
    compared = parser.add_argument_group("choices that ablate_sd.py holds against each other")
    compared.add_argument("--prediction-type", choices=PREDICTIONS, help="what the network's output stands "
                          "for; regression is shown no noise (default: clean)")  # fmt: skip
    compared.add_argument("--loss", default="root", choices=LOSSES, help="of a window: root mean square, mean square, "
                          "or the latter with a ramp of the noise level (default: %(default)s)")  # fmt: skip
    compared.add_argument("--pure-noise", type=float, default=0.8, metavar="SHARE", help="of the windows trained at "
                          "pure noise (default: %(default)s)")  # fmt: skip
    compared.add_argument("--context-noise", default="told", choices=NOISY_CONTEXTS, help="on half of the contexts, "
                          "its level told to the network, not told, or none (default: %(default)s)")  # fmt: skip
    compared.add_argument("--actions-by", choices=("norm", "attention"), help="how actions reach the "
                          "network: adaptive norm or cross-attention (default: norm)")  # fmt: skip
    compared.add_argument("--optimizer", default="muon", choices=HIDDEN, help="of the hidden convolutions; AdamW moves "
                          "all other weights (default: %(default)s)")  # fmt: skip
    compared.add_argument("--channels", type=int, nargs="+", metavar="C", help="at a half, then a "
                          "quarter of the latent's resolution (default: 96 192)")  # fmt: skip
    compared.add_argument("--reference", action="store_true", help="the network that benchmark_sd.py holds the dream "
                          "against, of the original's size, in place of ours")  # fmt: skip
    compared.add_argument("--motion", action=argparse.BooleanOptionalAction, help="begin from the last frame moved as "
                          "foreseen, not from the last frame (default: --motion)")  # fmt: skip
    run = parser.add_argument_group("run")
    run.add_argument("--resume", action="store_true", help="go on with the run in the output folder")
    run.add_argument("--seed", type=int, default=0, help="of everything (default: %(default)s)")
    run.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda"), help="(default: %(default)s)"
    )
    args = parser.parse_args(argv)
    if args.seed < 0:
        parser.error("--seed must be at least 0")
    if min(args.epochs, args.epoch_samples, args.batch_size, args.steps) < 1:
        parser.error("--epochs, --epoch-samples, --batch-size and --steps must be at least 1")
    if any(width < GROUP or width % GROUP for width in args.channels or ()) or not 0 <= args.pure_noise <= 1:
        parser.error(f"--channels must be multiples of {GROUP} and --pure-noise from 0 to 1")
    if not 0 <= args.flow_first < 1:
        parser.error("--flow-first must be a share of the budget, from 0 to below 1")
    if args.discriminator < 0 or not 0 <= args.astray <= 1:
        parser.error("--discriminator must be at least 0 and --astray from 0 to 1")
    if args.discriminator == 0:
        args.astray = 0.0
    if args.reference and (
        args.channels or args.prediction_type or args.actions_by or args.motion is not None
    ):
        parser.error(
            "--reference is a network of its own: no --channels, --prediction-type, --actions-by, --motion"
        )
    if not (args.grow or args.init_from or args.resume):
        parser.error(
            "--no-grow needs --init-from: a model that has just begun learns nothing from long walks"
        )
    if len(args.channels or ()) > 2:
        parser.error("--channels: one or two widths, the latent's sides are halved twice at the most")
    if args.max_minutes < 0 or args.own_frames < 0 or args.learning_rate <= 0:
        parser.error("--max-minutes and --own-frames must be at least 0 and --learning-rate above 0")
    return args


def main(args: argparse.Namespace) -> None:
    device = pick_device(args.device)
    dist = Distributed.open(device, args.batch_size)
    run_dir = Path(args.output_dir)
    data = open_trajectories(args.trajectories)
    for line in data.assumptions:
        print(f"assumed: {line}")
    encoder, decoder = load_autoencoder(
        *(Path(args.autoencoder_dir) / f"{part}.pt" for part in ("encoder", "decoder"))
    )
    if (decoder.config.height, decoder.config.width) != (data.height, data.width):
        size = (decoder.config.height, decoder.config.width)
        raise InputError(f"the autoencoder is for frames {size}, the recording has {data.frames.shape[3:]}")
    encoder, decoder = (part.to(device, memory_format=torch.channels_last) for part in (encoder, decoder))
    autoencoder = fingerprint(decoder)
    fixed = {
        "--seed": args.seed,
        "--batch-size": args.batch_size,
        "--epoch-samples": args.epoch_samples,
        "--trajectories": recording_fingerprint(data),
        "--autoencoder-dir": autoencoder,
        "--loss": args.loss,
        "--context-noise": args.context_noise,
        "--pure-noise": args.pure_noise,
        "--optimizer": args.optimizer,
        "--discriminator": args.discriminator,
        "--astray": args.astray,
    }
    resumed = load_resume_state(run_dir, "model_run", args.resume, fixed)
    seed_everything(args.seed)
    loss_config = LossConfig(args.loss, args.context_noise, args.pure_noise)
    unet, trained_before = make_unet(args, data, resumed)
    unet = unet.to(device, memory_format=torch.channels_last).attach_autoencoder(encoder, decoder)
    own_frames_from = 0 if trained_before else OWN_FRAMES_FROM
    learned = {
        "recording": fixed["--trajectories"],
        "prefix_fingerprint": recording_prefix_fingerprint(data),
        "seed": args.seed,
    }
    training_runs = [*trained_before, learned]
    L = unet.config.context
    train_mask, validation_mask = split_episodes(data, seed=args.seed)
    starts = train_windows(data, train_mask, L)
    with dist.main_process_first():
        encoded = encode_recording(data, encoder, autoencoder, run_dir, device)
    latents, frames = cache_on_device(encoded, device), cache_on_device(data.frames, device)
    actions = torch.from_numpy(data.actions)
    held_out = validation_set(data, frames, latents, validation_mask, L, device)

    ema = copy.deepcopy(unet).eval().requires_grad_(False).attach_autoencoder(encoder, decoder)
    optimizer = Optimizer([unet], WEIGHT_DECAY, hidden=args.optimizer)
    generator = torch.Generator().manual_seed(args.seed)
    change_threshold = unet.config.change_threshold
    streams = RolloutPool(
        latents, actions, starts, args.batch_size, L, device, generator, change_threshold, args.astray
    )
    adversary = AdversarialLoss(unet.config.latent_channels, args.discriminator, device, dist)
    step, spent_s, best_score = 0, 0.0, float("-inf")
    if resumed:
        unet.load_state_dict(resumed["model"])
        ema.load_state_dict(resumed["ema"])
        optimizer.load_state_dict(resumed["optimizer"])
        generator.set_state(resumed["generator"])
        streams.restore(resumed["streams"])
        adversary.restore(resumed["adversary"])
        restore_rng_state(resumed["rng"])
        step, spent_s, best_score = resumed["step"], resumed["spent_s"], resumed["best_score"]

    game = GameInfo(data.action_names, data.action_keys, data.fps)
    if dist.is_main:
        save_start_states(data, latents, validation_mask, L, autoencoder, run_dir / "initial_sequence.npz")
        # A copy: the dream stays whole when the autoencoder is trained on.
        save_checkpoint(autoencoder_checkpoint("decoder", decoder), run_dir / "decoder.pt")
        save_checkpoint(autoencoder_checkpoint("encoder", encoder, autoencoder), run_dir / "encoder.pt")
        log = MetricsLog(run_dir, resume_step=step if resumed else None)
    steps_per_epoch = max(1, args.epoch_samples // args.batch_size)
    budget = Budget(args.epochs * steps_per_epoch, args.max_minutes, spent_s)
    print(f"{len(starts)} windows to train on, {len(held_out.context)} held out, {data.num_actions} actions;")
    print(f"{sum(p.numel() for p in unet.parameters()):,} weights, seed {args.seed}, device {device}")

    bar = tqdm(total=budget.max_steps, initial=step, unit="step", mininterval=1)
    while (progress := dist.broadcast(budget.progress(step))) < 1:
        history = []
        while progress < 1:
            # step
            walks, context, context_actions, real = streams.draw()
            fresh = streams.age[walks] == 0
            truth = None
            if unet.config.use_flow:
                where = dist.local_rows(streams.where[walks])
                last, following = (frames_at(frames, where, t, device) for t in (L - 1, L))
                truth = FlowTargets(dist.local_rows(real[:, :-1]), last, following)
            flow_alone = truth is not None and progress < args.flow_first
            with autocast(device):
                if flow_alone:
                    loss, metrics = flow_pretraining_loss(unet, dist.local_rows(context_actions), truth)
                else:
                    loss, metrics, dreamed, as_played = training_loss(
                        unet, context, context_actions, real[:, -1], fresh, generator, loss_config, truth,
                        dist.local_rows(streams.usual_error(walks)), streams.astray[walks], dist,
                    )  # fmt: skip
            if flow_alone:
                streams.restart(walks)
            else:
                # a resumed run with more minutes stands at less progress than it did: walks stay as long as they were
                grown = progress if args.grow else 1.0
                streams.length = max(
                    streams.length, rollout_length_schedule(args.own_frames, own_frames_from, grown)
                )
                learned_to_begin = progress > own_frames_from or streams.length > 0
                if args.discriminator and learned_to_begin and as_played.any():
                    judged = (real[:, -1], as_played, ~streams.astray[walks])
                    push, judgement = adversary.push(loss, dreamed, *map(dist.local_rows, judged))
                    loss, metrics = loss + push, {**metrics, **judgement}
                streams.advance(walks, dist.all_gather(dreamed), as_played, streams.length, real[:, -1])
            loss.backward()
            dist.average_gradients(unet.parameters())
            metrics["grad_norm"] = torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
            optimizer.step(learning_rate(args.learning_rate, progress, step))
            update_ema(ema, unet, decay=min(0.999, (1 + step) / (10 + step)))
            history.append(metrics)
            step += 1
            bar.total = budget.expected_steps(step)
            bar.update()
            progress = dist.broadcast(budget.progress(step))
            if step % steps_per_epoch == 0:
                break
        means = dist.mean_metrics(history)
        if not all(map(math.isfinite, means.values())):  # asked at each step, a GPU would stand still
            raise InputError(f"the loss is no number by step {step}: lower --learning-rate, then --resume")
        if not dist.is_main:  # the first one alone measures, logs and saves
            continue

        # log
        bar.set_description("measuring")
        metrics, dreamed = validate(ema, decoder, held_out, args.steps)
        log.write(step, {**metrics, **means})
        score = fmean(metrics[f"psnr/rollout_{horizon}"] for horizon in held_out.horizons)
        bar.set_description("")
        bar.set_postfix(next=f"{metrics['psnr/next_frame']:.2f}", rollouts=f"{score:.2f}")

        # preview
        context, before = held_out.long_context[:1], held_out.long_actions[:1, :L]
        rows = dream_each_action(ema, decoder, context, before, args.steps, num_frames=13, every=4)
        save_image_grid(rows, run_dir / "previews" / f"step_{step:06d}_actions.png")
        rows = [held_out.long_frames[0, 1::8], decode(decoder, dreamed[0, ::8])]
        save_image_grid(rows, run_dir / "previews" / f"step_{step:06d}_film.png")

        # save
        if score > best_score:
            best_score = score
            save_checkpoint(
                model_checkpoint(ema, game, autoencoder, args.steps, training_runs), run_dir / "best.pt"
            )
        last = {
            "kind": "model_run",
            "must_match": fixed,
            "config": asdict(unet.config),
            "model": unet.state_dict(),
            "ema": ema.state_dict(),
            "optimizer": optimizer.state_dict(),
            "generator": generator.get_state(),
            "streams": streams.state(),
            "adversary": adversary.state(),
            "rng": rng_state(),
            "trained_before": trained_before,
            "step": step,
            "spent_s": budget.spent_s(),
            "best_score": best_score,
        }
        save_checkpoint(last, run_dir / "last.pt")
    bar.close()
    if dist.is_main:  # with all that it learned; best.pt is of the epoch that eight roll-outs prefer
        save_checkpoint(
            model_checkpoint(ema, game, autoencoder, args.steps, training_runs), run_dir / "final.pt"
        )
    repeating = fmean(held_out.copy_start_psnr(horizon) for horizon in held_out.horizons)
    print(f"{budget.what_ended(step)}: {step} steps, {step * args.batch_size} windows;")
    print(
        f"mean PSNR of held-out roll-outs at best {best_score:.2f} dB (repeating the first frame {repeating:.2f})"
    )
    if best_score < repeating:
        print("so far a still picture is nearer to the game than this dream: train longer")
    print(
        "next: " + shlex.join(["python", "sd/play_sd.py", "--model-path", f"{run_dir.as_posix()}/final.pt"])
    )
    paths = ["--trajectories", Path(args.trajectories).as_posix()]
    for part, name in (("encoder", "encoder"), ("decoder", "decoder"), ("model", "final")):
        paths += [f"--{part}-path", f"{run_dir.as_posix()}/{name}.pt"]
    print("its figures: " + shlex.join(["python", "sd/evaluate_sd.py", *paths, "--quick"]))


def make_unet(args: argparse.Namespace, data: Trajectories, resumed: dict | None) -> tuple[UNet, list[dict]]:
    """The network to train, and what it was trained on before this run."""
    if args.reference and not (resumed or args.init_from):
        return UNet(replace(REFERENCE, num_actions=data.num_actions)), []
    choices = {"channels": args.channels and tuple(args.channels), "prediction_type": args.prediction_type,
               "actions_by": args.actions_by, "use_flow": args.motion}  # fmt: skip
    choices = {name: choice for name, choice in choices.items() if choice is not None}
    if resumed:
        unet, trained_before = UNet(UNetConfig.from_dict(resumed["config"])), resumed["trained_before"]
    elif args.init_from:
        unet, _, checkpoint = load_unet(args.init_from)
        trained_before = checkpoint.get("training_runs", [])
    else:
        return UNet(UNetConfig(num_actions=data.num_actions, **{"use_flow": True, **choices})), []
    for name, choice in choices.items():
        if getattr(unet.config, name) != choice:
            flag = "--" + name.replace("_", "-")
            raise InputError(f"{flag} cannot be chosen anew: the network has {getattr(unet.config, name)}")
    if unet.config.num_actions != data.num_actions:
        raise InputError(f"{args.init_from} knows {unet.config.num_actions} actions, not {data.num_actions}")
    return unet.train().requires_grad_(True), trained_before


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
