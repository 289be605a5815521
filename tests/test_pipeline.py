"""The stages of sd/train_my_game.py and their times; stopping, continuing, and what a recorder has left."""

import json
import os
import sys
import time
from pathlib import Path

import evaluate_sd
import numpy as np
import pytest
import train_autoencoder
import train_my_game
import train_sd
from dream.common.errors import InputError
from dream.pipeline import stages
from dream.pipeline.child import Child
from dream.pipeline.recording_checks import keep_or_remove
from dream.pipeline.run_state import RunState
from dream.pipeline.stages import Folder, Source, evaluate_command, make_stage, plan_minutes, stage_names

ROOT = Path(__file__).resolve().parent.parent
GAME = Source(game="LunarLander-v3")


# ------------------------------------------------------------------------------------------------ stages and times


@pytest.mark.parametrize(
    ("source", "minutes", "names"),
    [
        (GAME, 45, ["record", "autoencoder", "model", "export"]),
        (GAME, 480, ["agent", "record", "autoencoder", "model", "export"]),
        (Source(game="Mode7Kart-v0"), 480, ["record", "autoencoder", "model", "export"]),  # it has an agent
        (Source(videos="films"), 480, ["record", "autoencoder", "model", "export"]),
        (Source(recording="a.npz"), 45, ["autoencoder", "model", "export"]),
    ],
)
def test_stages(source, minutes, names):
    assert stage_names(source, minutes) == names


@pytest.mark.parametrize("source", [GAME, Source(videos="films"), Source(recording="a.npz")])
@pytest.mark.parametrize("max_minutes", [5, 45, 480])
def test_stages_that_keep_to_their_times_keep_to_the_budget(source, max_minutes):
    elapsed = 0.0
    for name in stage_names(source, max_minutes):
        minutes = plan_minutes(name, max_minutes, elapsed)
        assert minutes > 0
        elapsed += minutes
    assert 0.99 * max_minutes <= elapsed <= 1.0001 * max_minutes


def test_the_model_gets_what_the_stages_before_it_have_left():
    assert plan_minutes("model", 45, 20) == pytest.approx(24)
    assert plan_minutes("model", 45, 44.9) == 0.5  # too late: the script says so


def test_options_of_the_recorder(tmp_path):
    folder = Folder(tmp_path, Source(game="Mode7Kart-v0", options=("--track", "2")))
    command = make_stage("record", folder, 1.5, 45).command
    assert command[1] == str(ROOT / "ppo" / "record_trajectories.py")
    assert command[-2:] == ("--track", "2") and "agent=1,wander=4,sticky=3" in command
    assert command[command.index("--max-minutes") + 1] == "1.50"


def test_a_trained_agent_records(tmp_path):
    folder = Folder(tmp_path, GAME)
    assert "--agent" not in make_stage("record", folder, 1, 45).command
    folder.agent.mkdir()
    (folder.agent / "best.pt").touch()
    command = make_stage("record", folder, 1, 480).command
    assert command[command.index("--agent") + 1] == str(folder.agent / "best.pt")


def test_a_stopped_training_is_resumed(tmp_path):
    folder = Folder(tmp_path, GAME)
    assert "--resume" not in make_stage("model", folder, 1, 45).command
    folder.model.mkdir()
    (folder.model / "last.pt").touch()
    assert "--resume" in make_stage("model", folder, 1, 45).command


def test_a_big_gpu_gets_large_batches(tmp_path, monkeypatch):
    folder = Folder(tmp_path, GAME)
    monkeypatch.setattr(stages, "has_big_gpu", lambda: False)
    assert "--batch-size" not in make_stage("model", folder, 1, 45).command
    monkeypatch.setattr(stages, "has_big_gpu", lambda: True)
    assert "--batch-size" in make_stage("model", folder, 1, 45).command


def test_nine_minutes_of_a_big_gpu_are_a_long_training(tmp_path, monkeypatch):
    """They used to be planned as nine minutes of a CPU: 4,096 frames, and no training on own rollouts."""
    folder = Folder(tmp_path, GAME)

    def planned(stage: str, option: str) -> int:
        command = make_stage(stage, folder, 1, 9).command
        return int(command[command.index(option) + 1])

    monkeypatch.setattr(stages, "has_big_gpu", lambda: False)
    on_a_cpu = planned("record", "--frames"), planned("model", "--rollout-length")
    assert planned("record", "--n-envs") == stages.RECORD_ENVS
    monkeypatch.setattr(stages, "has_big_gpu", lambda: True)
    assert on_a_cpu == (stages.MIN_FRAMES, 0)
    assert planned("record", "--frames") > 100_000 and planned("model", "--rollout-length") == 32
    assert planned("record", "--n-envs") > stages.RECORD_ENVS


@pytest.mark.parametrize("game", ["LunarLander-v3", "Mode7Kart-v0"])
def test_from_scratch_starts_from_no_other_network(tmp_path, game):
    """Its options must be ones that train_sd.py takes without --init-from."""
    for from_scratch in (False, True):
        folder = Folder(tmp_path, Source(game=game, from_scratch=from_scratch))
        for stage, script in (("autoencoder", train_autoencoder), ("model", train_sd)):
            args = script.parse_args([*make_stage(stage, folder, 1, 45).command[2:]])
            assert (args.init_from is None) == from_scratch, stage
    assert plan_minutes("autoencoder", 45, 5, True) > plan_minutes("autoencoder", 45, 5)


def test_a_run_from_scratch_is_another_run(tmp_path):
    RunState.load(tmp_path, GAME).save()
    with pytest.raises(InputError, match="another game or other options"):
        RunState.load(tmp_path, Source(game=GAME.game, from_scratch=True))
    state = json.loads((tmp_path / "run.json").read_text())
    del state["source"]["from_scratch"]  # as an earlier version wrote it
    (tmp_path / "run.json").write_text(json.dumps(state))
    RunState.load(tmp_path, GAME)
    names = [
        train_my_game.parse_args(["--game", "A-v0", *more]).output_dir.name
        for more in ([], ["--from-scratch"])
    ]
    assert names == ["A-v0", "A-v0-from-scratch"]


def test_the_evaluation_uses_the_files_of_the_run(tmp_path):
    folder = Folder(tmp_path, Source(game="Mode7Kart-v0"))
    args = evaluate_sd.parse_args(evaluate_command(folder)[2:])
    assert args.quick and args.model_path == folder.model / "final.pt"
    assert args.agent_path == ROOT / "ppo" / "pretrained" / "agent.pt"
    assert {args.encoder_path.parent, args.decoder_path.parent} == {folder.model}
    mine = tmp_path / "mine.pt"
    mine.touch()
    for options in (("--agent", str(mine), "--frames", "9"), ("--frames", "9", f"--agent={mine}")):
        command = evaluate_command(Folder(tmp_path, Source(game="Mode7Kart-v0", options=options)))
        assert evaluate_sd.parse_args(command[2:]).agent_path == mine


def test_as_many_frames_are_recorded_as_the_options_say(tmp_path):
    """The tenth of the budget that recording has would cut them."""
    command = make_stage(
        "record", Folder(tmp_path, Source(game="A-v0", options=("--frames", "9"))), 1, 45
    ).command
    assert "--max-minutes" not in command and command[-2:] == ("--frames", "9")


def test_rivals_may_move_while_the_kart_stands(tmp_path):
    def threshold(*options: str) -> str:
        command = make_stage(
            "model", Folder(tmp_path, Source(game="Mode7Kart-v0", options=options)), 1, 45
        ).command
        return command[command.index("--still-threshold") + 1]

    assert (threshold("--track", "2"), threshold("--rivals", "3"), threshold("--rivals=3")) == (
        "0.5",
        "0",
        "0",
    )


# ------------------------------------------------------------------------------------------------ stop and continue


def test_a_run_is_continued(tmp_path):
    state = RunState.load(tmp_path, GAME)
    state.extend(45)
    assert state.begin("record") == 4.5
    state.finish("record")
    state.seconds["record"] = 300.0
    minutes = state.begin("autoencoder")
    again = RunState.load(tmp_path, GAME)
    again.extend(45)
    again.seconds["autoencoder"] = 300.0
    assert again.is_finished("record") and not again.is_finished("autoencoder")
    assert again.begin("autoencoder") == minutes  # as planned when it began


def test_a_larger_budget_trains_the_model_further(tmp_path):
    state = RunState.load(tmp_path, GAME)
    state.extend(45)
    for name in stage_names(GAME, 45):
        state.begin(name)
        state.finish(name)
    state.extend(30)
    assert state.is_finished("model")
    state.seconds = {"record": 300.0, "autoencoder": 480.0, "model": 1860.0, "export": 60.0}  # 45 minutes
    state.extend(90)
    assert (
        state.is_finished("autoencoder")
        and not state.is_finished("model")
        and not state.is_finished("export")
    )
    assert state.begin("model") == pytest.approx(31 + 44)  # the script counts the time of its earlier parts


@pytest.mark.parametrize(("minutes", "length"), [(1, 0), (45, 0), (60, 8), (119, 8), (120, 32), (480, 32)])
def test_own_rollouts_are_for_longer_trainings(minutes, length, tmp_path):
    command = make_stage("model", Folder(tmp_path, GAME), 1, minutes).command
    assert command[command.index("--rollout-length") + 1] == str(length)


def test_a_folder_of_another_game_is_refused(tmp_path):
    RunState.load(tmp_path, GAME).save()
    with pytest.raises(InputError, match="holds the run of another game or other options: choose"):
        RunState.load(tmp_path, Source(game="CarRacing-v3"))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"source": 5}', "[" * 100_000, "\xff"])
def test_a_damaged_state_is_refused(tmp_path, text):
    (tmp_path / "run.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match="is damaged"):
        RunState.load(tmp_path, GAME)


def run_child(tmp_path, code: str) -> Child:
    return Child([sys.executable, "-c", code], tmp_path / "log.txt")


def test_warnings_are_shown_and_all_is_in_the_log(tmp_path):
    child = run_child(
        tmp_path, "import sys; print('many words'); print('\\r 5%|', 'warning: slow', sep='\\r'); sys.exit(3)"
    )
    assert child.finish() == 3
    assert list(child.lines) == ["warning: slow"]
    assert "many words" in (tmp_path / "log.txt").read_text()


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_a_stopped_script_can_save(tmp_path):
    code = "import time\ntry: print('note: ready'); time.sleep(60)\nexcept KeyboardInterrupt: print('note: saved')"
    child = run_child(tmp_path, code)
    while not child.take_lines():
        assert child.is_running
        time.sleep(0.02)
    assert child.stop() == 0
    assert child.take_lines() == ["note: saved"]


def test_options_can_be_corrected_until_something_is_recorded(tmp_path):
    state = RunState.load(tmp_path, Source(game="A-v0", options=("--track", "9")))
    state.extend(45)
    corrected = RunState.load(tmp_path, Source(game="A-v0", options=("--track", "2")))
    corrected.finish("record")
    with pytest.raises(InputError, match="other options"):
        RunState.load(tmp_path, Source(game="A-v0"))


def test_no_agent_is_trained_after_the_recording():
    assert "agent" not in stage_names(GAME, 480, is_recorded=True)
    for options in (("--policy", "random"), ("--policy=random",), ("--agent", "best.pt")):
        assert "agent" not in stage_names(Source(game="A-v0", options=options), 480)


def test_the_agent_gets_only_the_options_of_the_game(tmp_path):
    options = ("--frames", "9", "--frame-size", "96", "96", "--n-envs", "4", "--track=2")
    command = make_stage("agent", Folder(tmp_path, Source(game="A-v0", options=options)), 9, 480).command
    assert command[-4:] == ("--frame-size", "96", "96", "--track=2")


@pytest.mark.parametrize(
    ("steps", "varied", "is_kept"), [(1100, True, True), (1100, False, False), (40, True, False)]
)
def test_what_a_stopped_recorder_has_left(tmp_path, steps, varied, is_kept):
    """A recording of a still picture was trained on by the second call."""
    folder = Folder(tmp_path, GAME)
    frames = np.zeros((2, steps, 3, 16, 16), np.uint8)
    frames[:, ::2] += varied
    np.savez(folder.recording, frames=frames, actions=np.zeros((2, steps), np.int64))
    (tmp_path / "recording.recording" / "part").mkdir(parents=True)
    assert ("is used as it is" in keep_or_remove(folder)) == is_kept == folder.recording.exists()
    assert not (tmp_path / "recording.recording").exists()  # the recorder would refuse to begin


@pytest.mark.parametrize(
    ("varied", "message"), [("frames", "its only action is 'a'"), ("actions", "never changes")]
)
def test_a_recording_that_nothing_can_be_learned_from(tmp_path, varied, message):
    arrays = {"frames": np.zeros((2, 40, 3, 16, 16), np.uint8), "actions": np.zeros((2, 40), np.int64)}
    arrays[varied][:, ::2] = 1
    np.savez(tmp_path / "a.npz", action_names=["a", "b"], **arrays)
    command = ["--recording", str(tmp_path / "a.npz"), "--output-dir", str(tmp_path / "out")]
    with pytest.raises(InputError, match=message):
        train_my_game.main(train_my_game.parse_args(command))


def test_other_options_are_another_folder():
    plain, other = (
        train_my_game.parse_args(["--game", "a:B-v0", *more]) for more in ([], ["--", "--track", "2"])
    )
    assert plain.output_dir.name == "a-B-v0" and other.output_dir.name == "a-B-v0-track-2"
