"""The loaders that tests/fuzz.py tries: for each, how to make valid files and how to load them."""

import functools
import hashlib
import io
import math
import pickle
import tarfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from dream.common.runs import MetricsLog, load_resume_state, read_metrics, save_checkpoint
from dream.data.latents import encode_recording
from dream.data.start_states import load_start_states
from dream.data.trajectories import Trajectories, open_trajectories
from dream.evaluation import lpips
from dream.models.agent import load_agent as load_sd_agent
from dream.models.checkpoints import fingerprint, load_autoencoder_part, load_unet
from dream.play.keys import read_keys_file
from fuzz import Target
from fuzz_export_targets import EXPORT_TARGETS
from fuzz_video_targets import VIDEO_TARGETS
from player.games.game import read_actions
from player.recording.pack import pack_trajectories
from player.rl.agent import Agent, AgentConfig, agent_checkpoint
from player.rl.agent import load_agent as load_ppo_agent
from small import CPU, GAME, save_small_autoencoder, save_small_world_model, small_autoencoder
from trajectory_helpers import record

ACTION_NAMES = ("nothing", "left", "right")


def digest(*values: object) -> str:
    """A short text that differs if any array, tensor or other value in nested structures differs."""
    sha1 = hashlib.sha1()

    def add(value: object) -> None:
        if isinstance(value, torch.Tensor):
            value = value.numpy()
        if isinstance(value, np.ndarray):
            sha1.update(f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
        elif isinstance(value, dict):
            for key in sorted(value, key=str):
                sha1.update(str(key).encode())
                add(value[key])
        elif isinstance(value, (list, tuple)):
            sha1.update(b"[")
            for item in value:
                add(item)
        else:
            sha1.update(repr(value).encode())

    add(values)
    return sha1.hexdigest()


# recordings


def make_recording(folder: Path) -> Path:
    return record(folder, range(2)).pack()


def load_recording(path: Path) -> str:
    return recording_digest(open_trajectories(path))


def recording_digest(data: Trajectories) -> str:
    arrays = (data.frames, data.actions, data.episode_starts, data.extras)
    return digest(*arrays, data.action_names, data.action_keys, data.fps, data.record_envs)


def make_part(name: str, folder: Path) -> Path:
    """The parts of a stopped recording, of which the file `name` is damaged."""
    record(folder, range(2))
    return folder / "trajectories.partial" / name


def load_part(path: Path) -> str:
    run_dir = next(parent for parent in path.parents if parent.name == "trajectories.partial").parent
    data = open_trajectories(pack_trajectories(run_dir))
    return digest(data.frames.shape, data.action_names, data.action_keys, data.fps, data.record_envs)


def make_extended(folder: Path) -> Path:
    """A packed recording, to which another epoch is added."""
    path = record(folder, range(2)).pack()
    record(folder, range(2, 3))
    return path


def load_extended(path: Path) -> str:
    return load_recording(pack_trajectories(path.parent))


def make_latents(name: str, folder: Path) -> Path:
    _, encoder, mark = recording_and_encoder(folder.parent)
    encode_recording(recording_and_encoder(folder.parent)[0], encoder, mark, folder, CPU)
    return folder / name


def load_latents(path: Path) -> str:
    """Damaged latents are encoded again, so that they are always the same."""
    data, encoder, mark = recording_and_encoder(path.parents[1])
    return digest(np.array(encode_recording(data, encoder, mark, path.parent, CPU)))


@functools.lru_cache(maxsize=1)
def recording_and_encoder(folder: Path) -> tuple[Trajectories, torch.nn.Module, str]:
    frames = np.random.default_rng(0).integers(0, 256, (1, 6, 3, 32, 48), np.uint8)
    np.savez(folder / "recording.npz", frames=frames, actions=np.zeros((1, 6), int))
    encoder, decoder = small_autoencoder()
    return open_trajectories(folder / "recording.npz"), encoder, fingerprint(decoder)


# models


def make_model(name: str, folder: Path) -> Path:
    save_small_world_model(folder)
    return folder / name


def load_model(path: Path) -> str:
    unet, game, checkpoint = load_unet(path)
    return digest(unet.state_dict(), asdict(unet.config), asdict(game), checkpoint["steps"])


def load_part_of_autoencoder(kind: str, path: Path) -> str:
    part = load_autoencoder_part(path, kind)
    return digest(part.state_dict(), asdict(part.config))


class SmallModelShape:
    """What start states must fit (`ModelShape`): the small world model."""

    latent_shape, context_length, game, autoencoder = (4, 8, 12), 4, GAME, ""


def load_starts(path: Path) -> str:
    starts = load_start_states(path, SmallModelShape())
    return digest(starts.latents, starts.actions, starts.game_states)


def make_agent(folder: Path) -> Path:
    torch.manual_seed(0)
    agent = Agent(AgentConfig(3, ACTION_NAMES, "Mode7Kart-v0", 4))
    save_checkpoint({**agent_checkpoint(agent)}, folder / "agent.pt")
    return folder / "agent.pt"


def load_agent_of_ppo(path: Path) -> str:
    agent = load_ppo_agent(path)
    return digest(agent.state_dict(), asdict(agent.config))


def make_run(folder: Path) -> Path:
    save_small_autoencoder(folder)
    state = {"kind": "model_run", "must_match": {"--seed": 0}, "step": 3, "x": torch.zeros(9)}
    save_checkpoint(state, folder / "last.pt")
    return folder / "last.pt"


def load_run(path: Path) -> str:
    return digest(load_resume_state(path.parent, "model_run", True, {"--seed": 0}))


# text and tables


def make_metrics(folder: Path) -> Path:
    log = MetricsLog(folder)
    for step in range(1, 6):
        log.write(step, {"loss": 1 / step, "psnr": 20.0 + step, **({"late": 1.0} if step > 3 else {})})
    log.writer.close()
    return folder / "metrics.csv"


def load_metrics(path: Path) -> list[dict[str, str]]:
    """A damaged file must not keep a good checkpoint from being resumed."""
    log = MetricsLog(path.parent, resume_step=3)
    log.write(4, {"loss": 0.1})
    log.writer.close()
    return read_metrics(path)[0]


def is_metrics(rows: list[dict[str, str]]) -> bool:
    numbers = all(math.isfinite(float(row["step"])) for row in rows)
    return numbers and rows[-1]["step"] == "4" and float(rows[-1]["loss"]) == 0.1


def make_ablation(folder: Path) -> Path:
    import ablate_sd

    args = ablate_sd.parse_args(["--output-dir", str(folder)])
    report = ablate_sd.read_report(folder / "ablation.json", args)
    report["rows"]["baseline"] = [{"steps": 1, "next_frame": {"psnr_db": 30.25, "lpips": None}}]
    ablate_sd.save_report(report, folder / "ablation.json")
    return folder / "ablation.json"


def load_ablation(path: Path) -> str:
    import ablate_sd

    return digest(ablate_sd.read_report(path, ablate_sd.parse_args(["--output-dir", "x"]))["rows"])


def make_lpips(archived: bool, folder: Path) -> Path:
    """A file of small weights whose checksum is the expected one; inside the package's archive, or by itself."""
    data = pickle.dumps({"AlexNet_0": np.zeros(300)}, protocol=3)
    data = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")  # as NumPy 1 named it
    lpips.SHA256 = hashlib.sha256(data).hexdigest()
    if not archived:
        (folder / "alexnet.ckpt").write_bytes(data)
        return folder / "alexnet.ckpt"
    with tarfile.open(folder / "lpips.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo(lpips.MEMBER)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return folder / "lpips.tar.gz"


def load_lpips(path: Path) -> str:
    return digest(lpips.read_weights(path))


def make_keys(folder: Path) -> Path:
    (folder / "keys.txt").write_text("left 30\nnothing 15\n# a comment\n- 3\nright\nleft 120\n")
    return folder / "keys.txt"


def load_keys(path: Path) -> list[int]:
    return read_keys_file(path, GAME.action_names, GAME.action_keys)


def are_actions(actions: list[int]) -> bool:
    return bool(actions) and all(type(action) is int and 0 <= action < 3 for action in actions)


def make_actions(folder: Path) -> Path:
    (folder / "actions.txt").write_text(
        "nothing none none\nright RIGHT right  # steer\njump+right B+RIGHT space+right\n"
    )
    return folder / "actions.txt"


def load_actions(path: Path) -> tuple:
    return read_actions(str(path), ["B", None, "LEFT", "RIGHT"])


def are_actions_of_a_game(actions: tuple) -> bool:
    texts = [text for action in actions for text in (action.name, *action.buttons, *action.keys)]
    return all(text and text.isprintable() and len(text) <= 100 for text in texts)


def part_target(name: str, **options) -> Target:
    return Target(functools.partial(make_part, name), load_part, **options)


TARGETS = {
    "recording": Target(make_recording, load_recording),
    "recording_extended": Target(make_extended, load_extended),
    "part_metadata": part_target("metadata.json"),
    "part_frames": part_target("epoch_000001/frames.npy"),
    "part_actions": part_target("epoch_000001/actions.npy"),
    "part_truth": part_target("epoch_000000/truth/x.npy"),
    "latents": Target(functools.partial(make_latents, "latents.npy"), load_latents),
    "latents_json": Target(functools.partial(make_latents, "latents.json"), load_latents),
    "model": Target(functools.partial(make_model, "model.pt"), load_model),
    "encoder": Target(
        functools.partial(make_model, "encoder.pt"), functools.partial(load_part_of_autoencoder, "encoder")
    ),
    "decoder": Target(
        functools.partial(make_model, "decoder.pt"), functools.partial(load_part_of_autoencoder, "decoder")
    ),
    "start_states": Target(functools.partial(make_model, "initial_sequence.npz"), load_starts),
    "agent_ppo": Target(make_agent, load_agent_of_ppo),
    "agent_sd": Target(make_agent, lambda path: digest(load_sd_agent(path, ACTION_NAMES).state_dict())),
    "resume": Target(make_run, load_run),
    "metrics_csv": Target(make_metrics, load_metrics, has_checksum=False, is_valid=is_metrics),
    "ablation_json": Target(make_ablation, load_ablation),
    "lpips": Target(functools.partial(make_lpips, False), load_lpips),
    "lpips_archive": Target(functools.partial(make_lpips, True), load_lpips),
    "keys_file": Target(make_keys, load_keys, has_checksum=False, is_valid=are_actions),
    "actions_file": Target(make_actions, load_actions, has_checksum=False, is_valid=are_actions_of_a_game),
    **VIDEO_TARGETS,
    **EXPORT_TARGETS,
}
