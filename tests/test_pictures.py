"""Pictures of other kinds than RGB uint8: what is converted, to what, and what is refused."""

import numpy as np
import pytest
from dream.common.pictures import PictureReader as SdPictureReader
from odd_environments import SIZE, Odd
from player.common.errors import InputError
from player.common.pictures import PictureReader, find_picture
from player.games.registry import find_game

pytest.importorskip("cv2")
GAME = "odd_environments:Odd-v0"


def expected_bar(t: int) -> np.ndarray:
    """The bar at step t as it is recorded: RGB uint8 (128, 128, 3), each pixel twice as large."""
    env = Odd()
    env.t = t
    return np.repeat(env.bar()[..., None] * np.uint8(255), 3, axis=2).repeat(2, axis=0).repeat(2, axis=1)


def play(odd: str, frame_skip=None):
    """The Game, and its first frames, uint8 (5, H, W, 3)."""
    game = find_game(GAME, game_settings={"odd": odd}, frame_skip=frame_skip)
    env = game.make(frame_skip=game.frame_skip)
    frames = [env.reset(seed=0)[0], *(env.step(i % len(game.actions))[0] for i in range(4))]
    env.close()
    return game, np.stack(frames)


@pytest.mark.parametrize(
    ("odd", "note"),
    [
        ("", None),
        ("gray", None),
        ("gray 1", None),
        ("bool", None),
        ("int64", None),
        ("floats", "white is 1"),
        ("half floats", "white is 1"),
        ("floats to 255", "white is 255"),
        ("rgba", "opacity"),
        ("rgba without alpha", "opacity"),
        ("rgba transparent", "opacity"),
        ("channels first", "channels first"),
        ("list", "of a list of frames"),
        ("list mode", "of a list of frames"),
        ("four dimensions", "of an array of frames"),
        ("grows", "of another size"),
        ("start", None),
        ("negative start", None),
        ("both ends", None),
        ("reward array", None),
        ("same buffer", None),
    ],
)
def test_what_has_one_meaning_is_converted(odd, note):
    game, frames = play(odd)
    assert game.frame_skip == 4
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(frame, expected_bar(4 * i))
    notes = [line for line in game.notes if line.startswith("assumed")]
    assert bool(notes) == (note is not None) and (note is None or note in notes[0])


@pytest.mark.parametrize("odd", ["observation", "observation gray", "observation dict"])
def test_an_observation_is_the_picture_of_an_environment_that_draws_nothing(odd):
    """It declares no frame rate, so its frames are not skipped."""
    game, frames = play(odd)
    assert game.frame_skip == 1 and game.frame_rate == 30
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(frame, expected_bar(i))


def test_a_list_without_new_frames_repeats_the_last_one():
    _, frames = play("empty list")
    for frame in frames:
        np.testing.assert_array_equal(frame, expected_bar(0))


def test_planes_of_0_and_1_become_colors():
    """The first of six planes has the bar: its color is bright, all else is black."""
    game, frames = play("planes")
    assert frames.shape == (5, 96, 192, 3) and any("6 planes" in note for note in game.notes)
    assert len(np.unique(frames.reshape(-1, 3), axis=0)) == 2
    expected = expected_bar(4)[:64:2, ::2, 0].repeat(3, axis=0).repeat(3, axis=1)
    np.testing.assert_array_equal(frames[1].max(axis=2) > 100, expected > 0)
    _, frames = play("bool planes")  # four planes, and not RGBA: the last one is everything but the bar
    colors = np.unique(frames.reshape(-1, 3), axis=0)
    assert len(colors) == 2 and colors.max(axis=1).min() > 100


def test_small_pictures_keep_sharp_pixels():
    _, frames = play("small", frame_skip=1)
    assert frames.shape == (5, 160, 160, 3) and set(np.unique(frames)) == {0, 255}


def test_cell_numbers_are_pointed_out():
    game, _ = play("cell numbers")
    assert any("nearly black: the brightest value is 3" in note for note in game.notes)


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ("nan", "not finite"),
        ("negative", "from -1 to 1"),
        ("uint16", "to 65280; expected 0-1 or 0-255"),
        ("seven channels", r"uint8 \(64, 64, 7\); expected RGB"),
        ("text", "the picture is"),
        ("ragged", "the picture is list"),
        ("no pixels", r"\(0, 64, 3\)"),
        ("tall", "8 x 64 pixels: choose a part by --crop"),
        ("nothing", "it draws nothing"),
        ("observation two", "its observation has 2 pictures .it has left, right"),
        ("observation none", "its observation has 0 pictures"),
        ("observation stack", "RGBA, or four frames"),
        ("multi-discrete", "only Discrete actions are supported: wrap it"),
        ("tuple", "only Discrete actions are supported: wrap it"),
        ("box", "only Discrete actions are supported: if it has a setting"),
        ("reward list", "the reward is"),
        ("no reward", "the reward is 'None'"),
        ("text reward", "the reward is"),
        ("raises in reset", r"fails in reset\(\): ValueError: no reset$"),
        ("old step", "must return 5 values"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(odd, message):
    with pytest.raises(InputError, match=message) as caught:
        find_game(GAME, game_settings={"odd": odd})
    assert "\n" not in str(caught.value) and len(str(caught.value)) <= 300 and "Odd" in str(caught.value)


def test_an_environment_that_fails_later_is_one_line():
    env = find_game(GAME, game_settings={"odd": "raises in step"}).make(frame_skip=1)
    env.reset()
    with pytest.raises(InputError, match=r"fails in step\(\): ValueError: no step$"):
        for _ in range(60):
            env.step(0)
    env.close()


def test_a_reward_that_is_not_finite_counts_as_0(capsys):
    game = find_game(GAME, game_settings={"odd": "nan reward"})
    assert any("not finite counts as 0" in note for note in game.notes)
    env = game.make(frame_skip=4)
    env.reset()
    assert env.step(0)[1] == 0.0 and not capsys.readouterr().err  # printed once, with the other notes
    env.close()


@pytest.mark.parametrize("reader", [PictureReader, SdPictureReader])
def test_the_range_of_floats_is_decided_once(reader):
    """A black first picture decides nothing; a later one cannot change the meaning of white."""
    reads = reader()
    black, white = np.zeros((4, 4)), np.ones((4, 4))
    assert reads.read(black).max() == 0 and reads.read(white).min() == 255
    assert reads.read(white * 0.5).min() == 128 and reads.read(white * 1.0005).min() == 255
    with pytest.raises(ValueError, match="white was 1"):
        reads.read(white * 200)
    reads = reader()
    assert reads.read(white * 200).min() == 200 and reads.read(white).min() == 1


@pytest.mark.parametrize("reader", [PictureReader, SdPictureReader])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, bool])
def test_opaque_floats_of_0_and_1_are_colors(reader, dtype):
    """A first picture of red on black, in four channels; greys follow."""
    reads, picture = reader(), np.zeros((4, 4, 4), dtype)
    assert reads.read(picture).max() == 0  # decides nothing
    picture[..., 3] = 1
    assert reads.read(picture).max() == 0
    picture[0, 0, 0] = 1
    np.testing.assert_array_equal(reads.read(picture)[0, :2], [[255, 0, 0], [0, 0, 0]])
    if dtype is not bool:
        picture[1, 1, :3] = 0.5
        assert reads.read(picture)[1, 1].tolist() == [128] * 3
    assert any("opacity" in note for note in reads.notes) and not any("planes" in n for n in reads.notes)


@pytest.mark.parametrize("reader", [PictureReader, SdPictureReader])
def test_four_planes_are_decided_by_a_picture_that_cannot_be_rgba(reader):
    reads, planes = reader(), np.zeros((4, 4, 4), np.float32)
    planes[0, 0, 3] = 1  # of the fourth plane alone: an object, or black on a transparent ground
    assert reads.read(planes)[0, 0].max() > 100
    planes[1, 1, 0] = 1
    assert len(np.unique(reads.read(planes).reshape(-1, 3), axis=0)) == 3
    planes[..., 3] = 1  # cannot change the meaning any more
    assert len(np.unique(reads.read(planes).reshape(-1, 3), axis=0)) == 1
    reads, planes = reader(), np.zeros((4, 4, 4), np.float32)
    planes[0, 0, 3] = 1
    reads.read(planes)
    planes[1:] = (0.25, 0.5, 0.75, 1)  # colors after all
    assert reads.read(planes)[2, 2].tolist() == [64, 128, 191]


def test_transparent_parts_are_black():
    picture = np.zeros((2, 2, 4), np.uint8) + 200
    picture[0, 0, 3], picture[1, 1, 3] = 0, 255
    rgb = PictureReader().read(picture)
    assert rgb[0, 0, 0] == 0 and rgb[1, 1, 0] == 200 and rgb[0, 1, 0] == 200 * 200 // 255


def test_later_sizes_are_resized_to_the_first():
    reader, picture = PictureReader(), np.zeros((SIZE, SIZE, 3), np.uint8)
    picture[:, 16:32] = 255
    first = reader.read(picture)
    np.testing.assert_array_equal(reader.read(picture.repeat(3, axis=0).repeat(2, axis=1)), first)
    np.testing.assert_array_equal(reader.read(picture[::2, ::2]), first)


def test_instances_with_pictures_of_different_sizes(capsys):
    """The frames of all workers have one shape."""
    game = find_game(GAME, game_settings={"odd": "size of the instance"})
    shapes = []
    for _ in range(3):
        env = game.make(frame_skip=1)
        shapes.append(env.reset()[0].shape)
        env.close()
    assert len(set(shapes)) == 1
    assert "of another size" in capsys.readouterr().err  # not seen before


@pytest.mark.parametrize("reader", [PictureReader, SdPictureReader])
def test_no_other_exception(reader):
    """Arrays of any shape and type, and things that are none; the seed is fixed."""
    rng = np.random.default_rng(0)
    dtypes = (np.uint8, np.int8, np.uint16, np.int64, np.float16, np.float64, bool, object, "U3")
    results = {"read": 0, "refused": 0}
    for _ in range(1000):
        shape = rng.choice([0, 1, 2, 3, 4, 5, 64], rng.integers(5))
        values = rng.random(tuple(shape)) * rng.choice([0, 1, 1.5, 100, 300]) - rng.choice([0, 0, 0, 0.5])
        values = np.asarray(np.rint(values) if rng.random() < 0.5 else values)
        with np.errstate(invalid="ignore"):  # negative numbers as uint8
            picture = values.astype(dtypes[rng.integers(len(dtypes))])
        others = ([picture], (picture, None), picture.tolist(), None, "text")
        picture = others[rng.integers(5)] if rng.random() < 0.3 else picture
        try:
            rgb = reader().read(picture, bool(rng.integers(2)))
            assert rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3 and rgb.size
            results["read"] += 1
        except ValueError as problem:
            assert type(problem).__name__ == "InputError", repr(problem)
            assert "\n" not in str(problem) and len(str(problem)) <= 300
            results["refused"] += 1
    assert min(results.values()) > 70


def test_a_picture_in_a_tuple_or_dict_is_found():
    picture = np.zeros((8, 8, 3), np.uint8)
    for observation in (picture, {"a": picture, "b": 5}, (picture, [1, [2]]), (np.float32(1), picture)):
        assert find_picture(observation) is picture
    for observation in (
        (picture, picture),
        {"a": 5},
        (),
        [1, [2]],
        None,
        "text",
        np.zeros(3),
        np.zeros((1, 9)),
    ):
        with pytest.raises(InputError, match="it draws nothing"):
            find_picture(observation)
