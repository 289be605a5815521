"""The small networks that play uses beside the world model: their files, exports and training."""

import json
import subprocess
import sys

import export_sd
import numpy as np
import play_sd
import pytest
import torch
import train_play_networks
from dream.common.errors import InputError
from dream.common.runs import save_checkpoint
from dream.inference import export_network as export_module
from dream.inference import load_networks
from dream.inference.export_network import export_network
from dream.inference.input_files import file_kind
from dream.inference.load_networks import find_agent, find_network, load_policy, pick_runtime
from dream.inference.network_file import VIEWS_SHAPE, load_network, read_network, write_network
from dream.models.agent import load_agent
from dream.models.view_network import ViewNetwork
from dream.play.controllers import AgentController
from player.rl.agent import Agent, AgentConfig, agent_checkpoint
from pretrained import PRETRAINED
from small import GAME, randomize_weights, save_moving_square

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def agent_path(tmp_path_factory):
    """A random agent, and its export next to it."""
    path = tmp_path_factory.mktemp("agent") / "best.pt"
    torch.manual_seed(0)
    agent = randomize_weights(Agent(AgentConfig(3, GAME.action_names, "Test-v0", 4)))
    with torch.no_grad():
        agent.policy.weight.mul_(0.02)  # probabilities that differ, but not by orders of magnitude
    save_checkpoint(agent_checkpoint(agent), path)
    export_sd.main(export_sd.parse_args(["--agent-path", str(path)]))
    return path


def random_frames(count=8):
    return np.random.default_rng(0).integers(0, 256, (count, 28, 64, 3), np.uint8)


def test_an_exported_agent_drives_as_in_pytorch(agent_path, monkeypatch):
    monkeypatch.setattr(load_networks, "pick_runtime", lambda backend, path: "onnxruntime")  # in float32
    actions = {}
    for path in (agent_path, agent_path.with_suffix(".npz")):
        policy = load_policy(path, GAME.action_names, None)
        controller = AgentController(lambda policy=policy: policy, seed=3)
        frames = random_frames()
        controller.reset(frames[:1], 0)
        logits, actions[path.suffix] = [], []
        for t, frame_u8 in enumerate(frames):
            controller.observe(frame_u8)
            logits.append(policy(controller.views))
            actions[path.suffix].append(controller.act((), t))
        actions[path.suffix + " logits"] = np.stack(logits)
    spread = actions[".pt logits"].std()
    np.testing.assert_allclose(actions[".npz logits"], actions[".pt logits"], atol=0.05 * spread)
    assert actions[".npz"] == actions[".pt"] and len(set(actions[".pt"])) > 1


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_both_runtimes_give_the_outputs_of_the_network(tmp_path, runtime):
    pytest.importorskip(runtime)
    network, path = randomize_weights(ViewNetwork(2)).eval(), tmp_path / "laps.npz"
    export_network(network, "laps", path)
    views = torch.randint(256, VIEWS_SHAPE, dtype=torch.uint8)
    with torch.no_grad():
        wanted = network(views)[0].numpy()
    outputs = load_network(path, "laps", runtime, 2)(views[0].numpy())
    np.testing.assert_allclose(outputs, wanted, atol=0.05 * np.abs(wanted).max())  # OpenVINO may use bfloat16


def test_a_graph_that_differs_is_not_written(tmp_path, monkeypatch):
    """The old file stays."""
    path = tmp_path / "laps.npz"
    export_network(ViewNetwork(2), "laps", path)
    before = path.read_bytes()
    monkeypatch.setattr(export_module, "MAX_DIFFERENCE", 0.0)
    monkeypatch.setattr(export_module, "to_half_weights", broken_weights)
    with pytest.raises(InputError, match="gives other outputs"):
        export_network(randomize_weights(ViewNetwork(2)), "laps", path)
    assert path.read_bytes() == before and [each.name for each in tmp_path.iterdir()] == ["laps.npz"]


def broken_weights(model):
    for weight in model.graph.initializer:
        if weight.data_type in (1, 10):  # float32 and float16
            weight.raw_data = bytes(len(weight.raw_data))
    return model


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("missing", "no file at"),
        ("half", "damaged"),
        ("graph", "changed since the export"),
        ("format", "format 99"),
        ("kind", "wanted 'agent'"),
        ("empty", "damaged"),
        ("names", "no valid action names"),
        ("pickle", "damaged"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(agent_path, tmp_path, damage, words):
    path = tmp_path / "agent.npz"
    data = agent_path.with_suffix(".npz").read_bytes()
    arrays = dict(np.load(agent_path.with_suffix(".npz"), allow_pickle=False))
    meta = json.loads(arrays["meta"].item())
    if damage in ("half", "empty"):
        path.write_bytes(data[: len(data) // 2 if damage == "half" else 0])
    elif damage != "missing":
        changes = {"format": {"format": 99}, "kind": {"kind": "laps"}, "names": {"action_names": "abc"}}
        arrays["meta"] = json.dumps({**meta, **changes.get(damage, {})})
        if damage == "graph":
            arrays["graph"][100] ^= 1
        if damage == "pickle":
            arrays["graph"] = np.array([{}], object)
        np.savez(path, **arrays)
    with pytest.raises(InputError, match=words) as refused:
        load_policy(path, GAME.action_names, None)
    assert "make it again" in str(refused.value) or "makes one" in str(refused.value)


def test_a_graph_of_other_shapes_is_refused(tmp_path):
    export_network(ViewNetwork(3), "laps", tmp_path / "laps.npz")
    with pytest.raises(InputError, match="other shapes"):
        load_network(tmp_path / "laps.npz", "laps", "onnxruntime", 2)
    graph, _ = read_network(tmp_path / "laps.npz", "laps")
    write_network(tmp_path / "agent.npz", "agent", graph, ("only", "two"))
    with pytest.raises(InputError, match="other shapes"):
        load_policy(tmp_path / "agent.npz", ("only", "two"), None)
    with pytest.raises(InputError, match="has the actions"):
        load_policy(tmp_path / "agent.npz", GAME.action_names, None)


def test_kinds_of_network_files(agent_path):
    assert file_kind(agent_path.with_suffix(".npz")) == "agent" == file_kind(agent_path)
    assert file_kind(PRETRAINED / "laps.npz") == "laps"


def test_networks_are_looked_for_next_to_the_model(tmp_path):
    """A model of another track has no pretrained lap probe; the pretrained agent is an offer that may not fit."""
    assert find_network(tmp_path / "model.pt", "laps.npz") is None
    model, names = tmp_path / "model.pt", GAME.action_names
    assert (
        find_agent(model, read_network(PRETRAINED / "agent.npz", "agent")[1], PRETRAINED)
        == PRETRAINED / "agent.npz"
    )
    assert find_agent(model, ("jump", "duck"), PRETRAINED) is None  # Tab offered it in every game
    (tmp_path / "agent.npz").touch()
    assert find_agent(model, names, PRETRAINED) == tmp_path / "agent.npz"


def test_without_a_runtime_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(load_networks, "is_available", lambda name: False)
    with pytest.raises(InputError, match="pip install openvino or onnxruntime"):
        pick_runtime(None, PRETRAINED / "laps.npz")


def test_a_checkpoint_without_pytorch(monkeypatch, agent_path):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"needs PyTorch: make setup, or.*export_sd\.py --agent-path"):
        load_policy(agent_path, GAME.action_names, None)


def test_training_both_networks(tmp_path, agent_path, capsys):
    """The tiny run of train_play_networks.py: a square that moves is where it is along the track."""
    place = np.tile(np.linspace(0, 0.9, 24, dtype=np.float32), (6, 1))
    recording = save_moving_square(
        tmp_path / "a.npz", {"action_names": GAME.action_names, "truth/place": place}
    )
    command = ["--trajectories", str(recording), "--output-dir", str(tmp_path), "--steps", "2"]
    train_play_networks.main(train_play_networks.parse_args([*command, "--agent-path", str(agent_path)]))
    printed = capsys.readouterr().out
    assert "mean error" in printed and "prefers the same action" in printed
    assert load_network(tmp_path / "laps.npz", "laps", "onnxruntime", 2)(
        np.zeros(VIEWS_SHAPE[1:], np.uint8)
    ).shape == (2,)
    policy = load_policy(tmp_path / "agent.npz", GAME.action_names, None)
    assert policy(np.zeros(VIEWS_SHAPE[1:], np.uint8)).shape == (3,)
    save_moving_square(recording)
    with pytest.raises(InputError, match="has no truth/place"):
        train_play_networks.main(train_play_networks.parse_args(command))
    save_moving_square(recording, {"truth/place": np.full((6, 24), np.nan)})
    with pytest.raises(InputError, match="not one finite number"):
        train_play_networks.main(train_play_networks.parse_args(command))


# ---------------------------------------------------------------------------------------------- the pretrained files


def test_the_pretrained_networks_are_small():
    assert (PRETRAINED / "agent.npz").stat().st_size < 250_000
    assert (PRETRAINED / "laps.npz").stat().st_size < 150_000


def test_tab_shows_a_drive_without_pytorch(tmp_path):
    """What `make play` alone installs has no PyTorch."""
    pytest.importorskip("openvino")
    code = (
        "import sys; sys.modules['torch'] = None; sys.path.insert(0, sys.argv.pop(1)); import play_sd; "
        "play_sd.main(play_sd.parse_args(sys.argv[1:]))"
    )
    command = [
        sys.executable,
        "-c",
        code,
        str(PRETRAINED.parent),
        "--headless",
        "--driver",
        "agent",
        "--frames",
        "20",
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "20 frames" in result.stdout and "laps 0" in result.stdout and "note:" not in result.stdout


@pytest.mark.slow
def test_the_pretrained_agent_drives_a_lap_in_the_world_model():
    args = play_sd.parse_args(["--headless", "--driver", "agent", "--backend", "openvino"])
    session = play_sd.make_session(args, play_sd.load_env(args), 15.0)
    for _ in range(330):
        session.step()
    assert session.lap_timer.laps == 1 and 14 < session.lap_timer.best_lap_s < 22


def test_the_pretrained_agent_prefers_the_actions_of_the_agent_it_is_made_of():
    """On the frames of the start states, which both see four times."""
    path = PRETRAINED.parents[1] / "ppo" / "pretrained" / "agent.pt"
    agent = load_agent(path)
    args = play_sd.parse_args(["--headless"])
    env = play_sd.load_env(args)
    small, same = load_policy(PRETRAINED / "agent.npz", agent.action_names, env.backend), 0
    for start in range(env.num_starts):
        agent.views = None
        agent.observe(torch.from_numpy(env.reset(start).copy())[None])
        with torch.no_grad():
            same += int(agent(agent.views)[0].argmax()) == int(
                small(agent.views[0].contiguous().numpy()).argmax()
            )
    assert same >= 6
