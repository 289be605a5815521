"""Fixtures that several test modules use. Test modules import the code under test; here it is imported where used."""

import shutil
import signal
from pathlib import Path

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so do shells for what they start in the background
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # processes that tests start and interrupt inherit it


@pytest.fixture(scope="session", autouse=True)
def data_folder(tmp_path_factory):
    """A data folder (ROMs, savestates) for the tests, so that the user's own is neither read nor changed."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("data")
    patch.setenv("DREAM_MARIO_KART_DATA", str(folder))  # also used by scripts that tests start
    yield folder
    patch.undo()


@pytest.fixture
def paths(tmp_path):
    """Files of a small random world model, by the options of play_sd.py."""
    from small import save_small_world_model

    return save_small_world_model(tmp_path)


@pytest.fixture
def env(paths):
    """A small random world model as an environment."""
    from small import open_small_world_model

    return open_small_world_model(**paths)


@pytest.fixture
def make_window(monkeypatch, tmp_path):
    """Opens play windows with SDL's dummy driver: make(env, start=0, real=None, keys=None, **options)."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    from dream.play.controllers import make_controllers
    from dream.play.session import PlaySession
    from dream.window.window import PlayWindow

    windows = []

    def make(env, start=0, real=None, keys=None, **options):
        session = PlaySession(env, start, make_controllers(env, keys), real)
        windows.append(PlayWindow(session, output_dir=tmp_path / "output", **options))
        return windows[-1]

    yield make
    for window in windows:
        window.close()


@pytest.fixture
def make_viewer(monkeypatch, tmp_path):
    """Opens dataset viewers with SDL's dummy driver: make(path of a recording)."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    from dream.data.trajectories import open_trajectories
    from dream.window.dataset_viewer import DatasetViewer, pygame

    yield lambda path: DatasetViewer(open_trajectories(path), path.name, tmp_path / "output")
    pygame.quit()


@pytest.fixture
def screen(tmp_path):
    """A virtual X display (window_helpers.py); skips the test where its programs are not installed."""
    if not (shutil.which("Xvfb") and shutil.which("xdotool")):
        pytest.skip("needs Xvfb and xdotool (Linux packages)")
    from window_helpers import Screen

    screen = Screen(tmp_path)
    yield screen
    screen.close()


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Paths of a small decoder, model and start states, with a float32 export next to them. Not to be changed."""
    import export_sd
    from small import save_small_world_model

    paths = save_small_world_model(tmp_path_factory.mktemp("exported"))
    export_sd.main(export_sd.parse_args(["--model-path", str(paths["model_path"]), "--float"]))
    return tuple(paths.values())


@pytest.fixture(scope="session")
def web_site(tmp_path_factory):
    """The folder of the pretrained model's web page. Not to be changed. Skips where there is no Chromium."""
    import export_web
    from pretrained import PRETRAINED
    from web_helpers import find_chromium, find_runtime

    find_chromium()
    folder = tmp_path_factory.mktemp("web") / "site"
    args = ["--model-path", PRETRAINED / "model.pt", "--output-dir", folder, "--runtime", find_runtime()]
    export_web.main(export_web.parse_args([*map(str, args)]))
    return folder


@pytest.fixture(scope="module")
def server(web_site):
    """Serves the pretrained model's page."""
    from web_helpers import Server

    server = Server(web_site)
    yield server
    server.close()


@pytest.fixture(scope="module")
def opened(server):
    """A browser with the pretrained model's page."""
    from web_helpers import Browser

    browser = Browser()
    browser.open(server.url)
    yield browser
    browser.close()


@pytest.fixture
def browser(opened):
    """The browser, at the first start state, as after loading; without errors in the console at the end."""
    from web_helpers import restart

    restart(opened, 0)
    yield opened
    assert opened.errors() == []


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """run(code, *args): what `code`, the body of an async function of `args`, returns. Its modules are sd/web/*.js."""
    import json
    import subprocess

    from dream.web.site_folder import SOURCE

    program = shutil.which("node")
    if program is None:
        pytest.skip("needs Node.js")
    folder = tmp_path_factory.mktemp("node")
    for path in SOURCE.glob("*.js"):
        shutil.copy(path, folder)
    (folder / "package.json").write_text('{"type": "module"}')

    def run(code: str, *args: object) -> object:
        whole = f"const run = async (...args) => {{ {code} }};\n"
        whole += f"console.log(JSON.stringify(await run(...{json.dumps(args)})));"
        command = [program, "--input-type=module"]
        done = subprocess.run(command, input=whole, cwd=folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture
def copied(exported, tmp_path):
    """A copy of `exported` that a test may change."""
    shutil.copytree(exported[1].parent, tmp_path, dirs_exist_ok=True)
    return tuple(tmp_path / path.name for path in exported)


@pytest.fixture(scope="module")
def emulator():
    """The module stable_retro; the test is skipped if it is not installed."""
    return pytest.importorskip("stable_retro", reason="stable-retro is not installed")


@pytest.fixture
def make_retro_env(emulator):
    """make(name, integrations=None, state=None, frame_skip=1, buttons_as_actions=False, **options of find_game).

    Frames keep their size, unless frame_size says otherwise. The environments are closed at the end of the test,
    because a process can hold only one emulator.
    """
    from player.common.frame_size import FULL_SIZE
    from player.games.registry import find_game

    envs = []

    def make(name, integrations=None, state=None, frame_skip=1, buttons_as_actions=False, **options):
        game = find_game(name, integrations, state, **{"frame_size": FULL_SIZE, **options})
        envs.append(game.make(frame_skip=frame_skip, buttons_as_actions=buttons_as_actions))
        return envs[-1]

    yield make
    for env in envs:
        env.close()


@pytest.fixture
def own_folder(emulator, tmp_path):
    """A folder of integrations such as a user makes: Airstriker's files under the name MyShooter-Genesis."""
    stock_folder = Path(emulator.data.get_file_path("Airstriker-Genesis-v0", "rom.md")).parent
    shutil.copytree(stock_folder, tmp_path / "MyShooter-Genesis")
    return tmp_path
