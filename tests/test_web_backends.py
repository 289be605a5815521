"""The choice of the web page's backend, and the latents that one holds, with fakes of both. In Node.js: no browser."""

import pytest
from dream.web.variants import VARIANTS

# -- the choice of the backend ---------------------------------------------------------------------------------------

NAMES = ["webgpu16", "webgpu32", "wasm"]  # as in backend.js
CANDIDATES = """
const { VARIANTS } = await import("./backend.js");
const { candidates } = await import("./choose_backend.js");
const [wanted, gpu, hasHalfGraph] = args;
return candidates(VARIANTS, wanted, gpu, () => hasHalfGraph).map(({ name }) => name);
"""
REAL, SOFTWARE = {"isReal": True, "hasHalf": True}, {"isReal": False, "hasHalf": False}


@pytest.mark.parametrize(
    "wanted, gpu, has_half_graph, expected",
    [
        (None, REAL, True, NAMES),
        (None, REAL, False, ["webgpu32", "wasm"]),
        (None, {**REAL, "hasHalf": False}, True, ["webgpu32", "wasm"]),
        (None, SOFTWARE, True, ["wasm"]),
        (None, None, True, ["wasm"]),
        ("wasm", REAL, True, ["wasm"]),
        ("webgpu", REAL, True, ["webgpu16", "webgpu32"]),
        ("webgpu", SOFTWARE, True, ["webgpu32"]),
        ("webgpu32", REAL, True, ["webgpu32"]),
        ("webgpu", None, True, []),
    ],
)
def test_candidates_are_the_variants_that_may_work_here(node, wanted, gpu, has_half_graph, expected):
    assert node(CANDIDATES, wanted, gpu, has_half_graph) == expected


def test_the_page_knows_the_variants_that_are_exported(node):
    code = """return (await import("./backend.js")).VARIANTS.map(({ name }) => name);"""
    assert sorted(node(code)) == sorted(VARIANTS)


# args: times of the variants, ms, or the message with which one cannot be opened; whether they are timed. The game has
# 66 ms for a frame. Returns what happened, and the name of the variant that is used, or the error.
CHOOSE = """
const { VARIANTS } = await import("./backend.js");
const { chooseBackend } = await import("./choose_backend.js");
const [results, isTimed] = args;
const log = [];
const trial = {
    async open({ name }) {
        log.push(`open ${name}`);
        if (typeof results[name] === "string") throw new Error(results[name]);
        return { name };
    },
    async measure({ name }) {
        log.push(`measure ${name}`);
        if (results[name] === null) throw new Error("the GPU is lost");
        return results[name];
    },
    async close({ name }) { log.push(`close ${name}`); },
};
const variants = VARIANTS.filter(({ name }) => name in results);
const used = await chooseBackend(variants, 66, isTimed, trial).then(({ name }) => name, ({ message }) => message);
return [used, log];
"""


def choose(node, results: dict, is_timed: bool = True) -> str:
    """The variant that is used, or the error, after the check that all others are closed."""
    used, log = node(CHOOSE, results, is_timed)
    opened = [line.split()[1] for line in log if line.startswith("open ")]
    open_in_the_end = {name for name in opened if not isinstance(results[name], str)}
    for line in log:
        if line.startswith("close "):
            open_in_the_end.remove(line.split()[1])
    assert open_in_the_end == ({used} if used in NAMES else set()), log
    return used


MISSING, WRONG = "model/frame.webgpu32.onnx: the server answers 404", "webgpu16 generates other frames (9 dB)"


@pytest.mark.parametrize(
    "results, expected",
    [
        ({"webgpu16": 8, "webgpu32": 15, "wasm": 45}, "webgpu16"),
        ({"webgpu16": MISSING, "webgpu32": MISSING, "wasm": 45}, "wasm"),
        ({"webgpu16": WRONG, "webgpu32": 15, "wasm": 45}, "webgpu32"),
        ({"webgpu16": None, "webgpu32": 15, "wasm": 45}, "webgpu32"),
        ({"webgpu16": 90, "webgpu32": 15, "wasm": 45}, "wasm"),
        ({"webgpu16": 90, "webgpu32": 15, "wasm": 120}, "webgpu16"),
        ({"webgpu32": 90, "wasm": MISSING}, "webgpu32"),
        ({"webgpu32": 90, "wasm": None}, "webgpu32"),
        ({"webgpu32": WRONG, "wasm": MISSING}, MISSING),
        ({"wasm": 200}, "wasm"),
    ],
)
def test_the_fastest_backend_that_works_is_used(node, results, expected):
    assert choose(node, results) == expected


def test_a_backend_of_the_address_is_not_timed(node):
    used, log = node(CHOOSE, {"webgpu16": 90, "webgpu32": 15}, False)
    assert (used, log) == ("webgpu16", ["open webgpu16"])
    assert choose(node, {"webgpu16": WRONG, "webgpu32": 90}, False) == "webgpu32"


# The times of frames as if the backend took them; returns the median and how many frames were generated.
MEDIAN = """
const { Generator } = await import("./generator.js");
const [times, frameMs] = args;
let now = 0, count = 0;
performance.now = () => now;
const generator = new Generator({ context: 2, latent_shape: [1, 1, 1] }, {});
generator.frame = async () => { now += times[count++]; };
return [await generator.medianMs(frameMs), count];
"""


@pytest.mark.parametrize(
    "times, expected",
    [
        ([10, 90, 20, 80, 30], [30, 5]),
        ([90, 10, 80, 20, 70], [70, 5]),
        ([90, 80, 70], [80, 3]),
        ([10, 90, 80, 70], [80, 4]),
    ],
)
def test_most_frames_decide_whether_a_backend_is_slow(node, times, expected):
    """A single frame may be late."""
    assert node(MEDIAN, times, 66) == expected


# -- the latents of a drive ------------------------------------------------------------------------------------------

LATENTS = """
const { Latents } = await import("./latents.js");
const disposed = {}; // how often, by name
const tensor = (name) => ({ name, dispose() { disposed[name] = (disposed[name] ?? 0) + 1; } });
const latents = new Latents(2);
const drive = (name) => latents.restart([tensor(`${name}-1`), tensor(`${name}0`)]);
const add = (number, name, oldest) => { latents.add(number, tensor(name), oldest); };
const names = () => latents.before(Math.max(...latents.tensors.keys()) + 1).map(({ name }) => name);
"""


def test_a_restart_disposes_of_all_latents_and_of_the_frame(node):
    code = """drive("a"); add(1, "a1", 0); latents.setFrame(1, tensor("frame"));
        drive("b"); return [disposed, names(), latents.decoded(1)];"""
    once = {"a-1": 1, "a0": 1, "a1": 1, "frame": 1}
    assert node(LATENTS + code) == [once, ["b-1", "b0"], None]


def test_a_frame_after_a_rewind_disposes_of_those_that_were_taken_back(node):
    code = """drive("a"); add(1, "a1", 0); add(2, "a2", 0); add(3, "a3", 0);
        add(2, "b2", 0); return [disposed, names()];"""
    assert node(LATENTS + code) == [{"a2": 1, "a3": 1}, ["a1", "b2"]]


def test_latents_older_than_the_history_are_disposed_of(node):
    """Rewinding can lead to frame 2, which is predicted from again: from frames 1 and 2."""
    code = """drive("a"); add(1, "a1", 0); add(2, "a2", 0); add(3, "a3", 0);
        add(4, "a4", 2); return [disposed, latents.before(3).map(({ name }) => name)];"""
    assert node(LATENTS + code) == [{"a-1": 1, "a0": 1}, ["a1", "a2"]]


def test_a_new_frame_disposes_of_the_one_before(node):
    code = """drive("a"); latents.setFrame(0, tensor("frame 0")); latents.setFrame(1, tensor("frame 1"));
        latents.setFrame(0, null); return [disposed, latents.decoded(0)];"""
    assert node(LATENTS + code) == [{"frame 0": 1, "frame 1": 1}, None]


def test_latents_that_are_not_there_are_reported(node):
    code = """drive("a"); try { latents.before(3); } catch ({ message }) { return message; }"""
    assert node(LATENTS + code) == "the latents before frame 3 are not there"
