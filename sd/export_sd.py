"""Exports a model as ONNX graphs for OpenVINO or ONNX Runtime: plays without PyTorch, and faster on a CPU.

    python sd/export_sd.py --model-path output/sd/best.pt       # writes output/sd/best.exported/
    python sd/play_sd.py --model-path output/sd/best.pt         # plays it from there
    python sd/export_sd.py --agent-path output/agent/best.pt    # writes output/agent/best.npz, for --agent-path

play_sd.py exports a model by itself if there is no export; this script prepares a model for a machine without PyTorch.
"""

import argparse
from pathlib import Path

from dream.common.errors import InputError, run_script
from dream.common.startup import ArgumentParser, command_line
from dream.inference import probe
from dream.inference.export_folder import default_start_states, export_dir
from dream.inference.input_files import check_kind
from dream.inference.select_backend import EXPORT_NEEDS, check_checkpoints

HERE = Path(__file__).resolve().parent


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-path", type=Path, default=HERE / "pretrained" / "model.pt", metavar="FILE",
                        help="diffusion model of train_sd.py (default: %(default)s)")  # fmt: skip
    parser.add_argument("--decoder-path", type=Path, metavar="FILE",
                        help="decoder of train_autoencoder.py (default: decoder.pt next to the model)")  # fmt: skip
    parser.add_argument("--trajectory-path", type=Path, metavar="FILE", help="start states that calibrate 8-bit ranges "
                        "(default: initial_sequence.npz next to the model)")  # fmt: skip
    parser.add_argument("--output-dir", type=Path, metavar="DIR", help="folder of the export (default: next to the "
                        "model, where play_sd.py looks for it)")  # fmt: skip
    parser.add_argument("--float", action="store_true", help="no 8-bit convolutions: slower, with slightly smaller "
                        "differences from PyTorch")  # fmt: skip
    parser.add_argument("--agent-path", type=Path, metavar="FILE", help="export this agent, best.pt of "
                        "ppo/train_ppo.py, instead of a model")  # fmt: skip
    args = parser.parse_args(argv)
    args.decoder_path = args.decoder_path or args.model_path.parent / "decoder.pt"
    args.trajectory_path = args.trajectory_path or default_start_states(args.model_path)
    args.output_dir = args.output_dir or export_dir(args.model_path)
    return args


def main(args: argparse.Namespace) -> None:
    if args.agent_path:
        check_kind("--agent-path", args.agent_path, "agent")
    else:
        check_checkpoints(args.decoder_path, args.model_path)
        if not args.float:
            check_kind("--trajectory-path", args.trajectory_path, "start states")
    probe.try_export_packages()  # a crash in this process would be without a word
    try:
        written = export_agent(args.agent_path) if args.agent_path else export(args)
    except ImportError as problem:
        raise InputError(f"{problem}: to export, pip install {' '.join(EXPORT_NEEDS)}") from None
    print(f"wrote {written}")
    option = ("--agent-path", written) if args.agent_path else ("--model-path", args.model_path)
    print("next: " + command_line("sd/play_sd.py", option[0], option[1].as_posix()))


def export(args: argparse.Namespace) -> Path:
    """Exports the model; returns the folder."""
    from dream.inference.export import export_model

    starts = None if args.float else args.trajectory_path
    export_model(args.decoder_path, args.model_path, starts, args.output_dir)
    return args.output_dir


def export_agent(path: Path) -> Path:
    """Exports an agent next to its checkpoint; returns the file."""
    from dream.inference.export_network import export_network
    from dream.models.agent import load_agent

    agent, exported = load_agent(path), path.with_suffix(".npz")
    export_network(agent, "agent", exported, agent.action_names)
    return exported


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
