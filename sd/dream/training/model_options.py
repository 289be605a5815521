"""Command-line options of the training of the diffusion model alone."""

import argparse
from pathlib import Path

from dream.common.limits import MAX_STEPS
from dream.models.flow import GROUP_SIZE, INTERPOLATIONS
from dream.models.unet import MAX_LATENT, PREDICTION_TYPES
from dream.training.optimizer import OPTIMIZERS

MAX_STILL_THRESHOLD = 2 * MAX_LATENT  # no change of a latent is larger


def add_model_options(parser: argparse.ArgumentParser, groups: dict[str, argparse._ArgumentGroup]) -> None:
    """Adds them to the groups of `add_training_options`."""
    paths, learning = groups["paths"], groups["learning"]
    # fmt: off
    paths.add_argument("--autoencoder-dir", default=Path("output/autoencoder"), metavar="DIR",
                       help="folder of encoder.pt and decoder.pt (default: %(default)s)")
    paths.add_argument("--init-from", metavar="FILE", help="a best.pt or final.pt whose weights a new run starts with")
    paths.add_argument("--new-game", action="store_true", help="with --init-from: its model is of another game, and "
                       "output layers and actions are learned anew (as always if the actions have other names)")
    learning.add_argument("--flow-pretrain", type=float, metavar="FRACTION",
                          help="fraction of the budget in which the optical flow is trained alone (default: 0.1, with "
                          "--init-from 0)")
    learning.add_argument("--rollout-length", type=float, default=64, metavar="FRAMES",
                          help="mean length of the model's own rollouts that it is trained on (0: train on real "
                          "contexts only, default: %(default)s)")
    learning.add_argument("--rollout-length-start", type=float, default=1, metavar="FRAMES",
                          help="the rollout length grows from this value; with --init-from a model that was trained on "
                          "long rollouts, give the number of --rollout-length (default: %(default)s)")
    learning.add_argument("--off-data", type=float, default=0.5, metavar="FRACTION",
                          help="fraction of the ending rollouts that continue under actions that were not recorded "
                          "there, trained by the discriminator alone (default: %(default)s; 0 without discriminator)")
    learning.add_argument("--gan-weight", type=float, default=0.4, metavar="WEIGHT",
                          help="size of the adversarial gradient relative to that of the other losses (0: no "
                          "discriminator, default: %(default)s)")
    learning.add_argument("--pure-noise-fraction", type=float, default=0.8, metavar="FRACTION",
                          help="fraction of the windows trained at timestep 1 (pure noise), where one-step sampling "
                          "starts (default: %(default)s)")
    learning.add_argument("--optimizer", default="muon", choices=OPTIMIZERS,
                          help="optimizer of the hidden convolutions; AdamW trains the other weights (default: "
                          "%(default)s)")
    model = parser.add_argument_group("model (with --resume and --init-from: as the given model has it)")
    model.add_argument("--sampling-steps", type=int, default=1,
                       help="denoising steps per frame, in play too (default: %(default)s)")
    model.add_argument("--channels", type=int, nargs="+", metavar="C",
                       help="channels at 1/2, then 1/4 of the latent's resolution, multiples of 16 (default: 96 192)")
    model.add_argument("--flow", action=argparse.BooleanOptionalAction,
                       help="predict a residual on the warped last frame, not on the last frame (default: --flow)")
    model.add_argument("--prediction-type", choices=PREDICTION_TYPES,
                       help="x0: denoise; regression: predict without any noise input (default: x0)")
    model.add_argument("--warp", choices=INTERPOLATIONS,
                       help="how the last frame is interpolated where it is warped; it may differ from that of "
                       "--init-from (default: bicubic)")
    model.add_argument("--still-threshold", type=float, metavar="CHANGE",
                       help="in play, not in training: while the flow moves nothing, smaller changes of a latent pixel "
                       "are suppressed; below 0.05 they always are. It may differ from that of --init-from and "
                       "--resume (default: 0, off; the pretrained model has 0.5)")
    # fmt: on


def check_model_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Fills in defaults that depend on other options. Ends the program through `parser.error` where an option of
    `add_model_options` is out of range."""
    if args.flow_pretrain is None:
        args.flow_pretrain = 0.0 if args.init_from and not args.new_game else 0.1
    if args.new_game and not args.init_from:
        parser.error("--new-game needs --init-from")
    if not 1 <= args.sampling_steps <= MAX_STEPS:
        parser.error(f"--sampling-steps must be from 1 to {MAX_STEPS}")
    if len(args.channels or ()) > 2 or any(c < GROUP_SIZE or c % GROUP_SIZE for c in args.channels or ()):
        parser.error(f"--channels wants one or two multiples of {GROUP_SIZE}")
    if not (0 <= args.flow_pretrain < 1 and 0 <= args.off_data <= 1 and 0 <= args.pure_noise_fraction <= 1):
        parser.error("--flow-pretrain, --off-data and --pure-noise-fraction must lie between 0 and 1")
    if args.gan_weight < 0 or args.rollout_length < 0:
        parser.error("--gan-weight and --rollout-length must be at least 0")
    if args.still_threshold is not None and not 0 <= args.still_threshold <= MAX_STILL_THRESHOLD:
        parser.error(f"--still-threshold must lie between 0 and {MAX_STILL_THRESHOLD:g}")
    if args.still_threshold and args.flow is False:
        parser.error("--still-threshold needs the flow: leave out --no-flow")
    if args.rollout_length and not 1 <= args.rollout_length_start <= args.rollout_length:
        parser.error("--rollout-length-start must lie between 1 and --rollout-length")
    if args.rollout_length_start > 1 and not (args.init_from or args.resume):
        parser.error(
            "--rollout-length-start above 1 needs --init-from: a new model learns nothing from long rollouts"
        )
    if args.gan_weight == 0:
        args.off_data = 0.0
