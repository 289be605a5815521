"""Exports a model as a web page that plays in the browser, on any static host and offline.

    python sd/export_web.py --model-path output/sd/best.pt --output-dir output/site
    python sd/export_web.py --serve                # exports the pretrained model and serves it on this machine
    python sd/export_web.py --keys my_keys.txt     # a list of actions that the page can play; each line: up+left 30

The folder holds everything: page, model, start states, and ONNX Runtime Web, which npm fetches at the first export.
"""

import argparse
from pathlib import Path

from dream.common.errors import InputError, run_script
from dream.common.progress import waiting
from dream.common.startup import ArgumentParser, command_line
from dream.inference import probe
from dream.inference.export_folder import default_start_states
from dream.inference.input_files import check_kind
from dream.inference.load_networks import find_agent, find_network
from dream.inference.select_backend import EXPORT_NEEDS, check_checkpoints
from dream.play.keys import parse_keys_file
from dream.web.runtime import TARBALL, find_tarball
from dream.web.server import serve
from dream.web.site_folder import check_is_site_or_new, is_up_to_date

HERE = Path(__file__).resolve().parent
PRETRAINED = HERE / "pretrained"


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-path", type=Path, default=PRETRAINED / "model.pt", metavar="FILE",
                        help="diffusion model of train_sd.py (default: %(default)s)")  # fmt: skip
    parser.add_argument("--decoder-path", type=Path, metavar="FILE",
                        help="decoder of train_autoencoder.py (default: decoder.pt next to the model)")  # fmt: skip
    parser.add_argument("--trajectory-path", type=Path, metavar="FILE",
                        help="start states (default: initial_sequence.npz next to the model)")  # fmt: skip
    parser.add_argument("--agent-path", type=Path, metavar="FILE", help="agent.npz of export_sd.py, the agent "
                        "that can drive (default: the one next to the model, or the pretrained one if it "
                        "fits)")  # fmt: skip
    parser.add_argument("--keys", type=Path, metavar="FILE", help="action list that the page can play, as of "
                        "play_sd.py: a text file of lines such as 'up+left 30' (default: none)")  # fmt: skip
    parser.add_argument("--output-dir", type=Path, default=Path("output/site"), metavar="DIR",
                        help="folder of the page; an older page in it is replaced (default: %(default)s)")  # fmt: skip
    parser.add_argument("--runtime", type=Path, metavar="FILE", help=f"{TARBALL}, for a machine "
                        "without npm or network (default: npm fetches it once, into the user's cache)")  # fmt: skip
    parser.add_argument("--serve", action="store_true", help="then serve the page on 127.0.0.1, until Ctrl-C; a page "
                        "that is up to date is not exported again")  # fmt: skip
    parser.add_argument("--port", type=int, default=8000, metavar="N",
                        help="of --serve; a later one if it is in use (default: %(default)s)")  # fmt: skip
    args = parser.parse_args(argv)
    if not 0 <= args.port <= 65535:
        parser.error(f"--port {args.port}: choose one from 1024 to 65535")
    args.decoder_path = args.decoder_path or args.model_path.parent / "decoder.pt"
    args.trajectory_path = args.trajectory_path or default_start_states(args.model_path)
    return args


def main(args: argparse.Namespace) -> None:
    check_checkpoints(args.decoder_path, args.model_path)
    check_kind("--trajectory-path", args.trajectory_path, "start states")
    if args.agent_path:
        check_kind("--agent-path", args.agent_path, "agent")
        if args.agent_path.suffix != ".npz":
            command = command_line("sd/export_sd.py", "--agent-path", args.agent_path.as_posix())
            raise InputError(
                f"--agent-path {args.agent_path} is a checkpoint: {command} makes the .npz of it"
            )
    if args.keys:
        parse_keys_file(args.keys)  # before the model is loaded
    check_is_site_or_new(args.output_dir)
    sources = source_files(args)
    if not (args.serve and is_up_to_date(args.output_dir, sources)):
        export(args, sources)
        print(f"wrote {args.output_dir}")
    if args.serve:
        serve(args.output_dir, args.port)
    else:
        options = {"--model-path": args.model_path, "--agent-path": args.agent_path, "--keys": args.keys,
                   "--output-dir": args.output_dir}  # fmt: skip
        given = [text for name, path in options.items() if path for text in (name, path.as_posix())]
        print(
            f"next: copy the folder to a web server, or {command_line('sd/export_web.py', *given, '--serve')}"
        )


def source_files(args: argparse.Namespace) -> dict[str, Path]:
    """The files that the page is made from, by their purpose. An agent counts even if it does not fit the model, which
    is found out with PyTorch."""
    files = {
        "decoder": args.decoder_path,
        "model": args.model_path,
        "starts": args.trajectory_path,
        "agent": args.agent_path
        or find_network(args.model_path, "agent.npz")
        or find_network(PRETRAINED / "model.pt", "agent.npz"),
        "keys": args.keys,
    }
    return {purpose: path for purpose, path in files.items() if path}


def export(args: argparse.Namespace, sources: dict[str, Path]) -> None:
    """Writes the page. sources: of `source_files`."""
    agent = args.agent_path or default_agent(args.model_path)
    with waiting("finding the runtime"):
        tarball = find_tarball(args.runtime)  # first, because it may fail where all else is there
    probe.try_export_packages()  # a crash in this process would be without a word
    try:
        from dream.web.site import export_site

        export_site(sources, agent, tarball, args.output_dir)
    except ImportError as problem:
        raise InputError(f"{problem}: to export, pip install {' '.join(EXPORT_NEEDS)}") from None


def default_agent(model_path: Path) -> Path | None:
    """The agent.npz next to the model, or the pretrained one if it has the model's actions; None without one."""
    own = find_network(model_path, "agent.npz")
    if own or not model_path.is_file():
        return own
    from dream.models.checkpoints import load_unet

    _, game, _ = load_unet(model_path)
    return find_agent(model_path, game.action_names, PRETRAINED)


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
