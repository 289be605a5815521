"""What the web page does with damaged files and failing servers. In Node.js: no browser."""

import pytest

# args: the answers to the requests of a file, one after the other: [status, bytes] or the message of a failing network;
# its name; calls, each a method of Files. The page's files have 4 bytes each. Returns of each call the bytes or the
# error, how many requests were sent, and the progress at the end.
FETCH = """
const { Files } = await import("./files.js");
const [answers, name, calls] = args;
let numRequests = 0;
globalThis.self = { location: { href: "http://host/page/worker.js" } };
globalThis.fetch = async () => {
    const answer = answers[numRequests++];
    if (typeof answer === "string") throw new TypeError(answer);
    return new Response(new Uint8Array(answer[1]), { status: answer[0] });
};
const files = new Files({ version: "1", files: { [name]: 4, "other.bin": 4 } }, () => {});
files.expect([name, "other.bin"]);
const results = [];
for (const call of calls) {
    results.push(await files[call](name).then((content) => [...new Uint8Array(content)], ({ message }) => message));
}
return [results, numRequests, files.progress];
"""
FOUR, SIX = [200, [1, 2, 3, 4]], [200, [1, 2, 3, 4, 5, 6]]


@pytest.mark.parametrize(
    "answers, name, expected",
    [
        ([FOUR], "a.bin", [1, 2, 3, 4]),
        ([SIX, SIX], "a.gz", [1, 2, 3, 4, 5, 6]),  # decompressed on the way
        ([SIX], "a.bin", "a.bin is longer than that of this page: export the page again"),
        ([[200, [1, 2]]], "a.bin", "a.bin is incomplete"),
        ([[404, []]], "a.bin", "a.bin: the server answers 404"),
        ([SIX, [503, []]], "a.gz", "a.gz: the server answers 503"),
        (["Failed to fetch"], "a.bin", "a.bin cannot be loaded (Failed to fetch)"),
        ([SIX, "Failed to fetch"], "a.gz", "a.gz cannot be loaded (Failed to fetch)"),
    ],
)
def test_a_file_is_whole_or_the_error_names_it(node, answers, name, expected):
    assert node(FETCH, answers, name, ["fetch"])[:2] == [[expected], len(answers)]


def test_a_damaged_compressed_file_is_named(node):
    (message,), _, _ = node(FETCH, [[200, [0x1F, 0x8B, 0, 0]]], "a.gz", ["fetchCompressed"])
    assert message.startswith("a.gz cannot be loaded (")


def test_a_file_is_fetched_once(node):
    """As the weights by two variants; one that could not be fetched is tried again."""
    results, requests, progress = node(FETCH, [[404, []], FOUR], "a.bin", ["fetch", "fetch", "fetch"])
    assert (results[1:], requests) == ([FOUR[1]] * 2, 2)
    assert progress == {"received": 4, "total": 8}
    code = FETCH.replace("return [", 'files.expect([name, "other.bin"]); return [')
    assert node(code, [FOUR], "a.bin", ["fetch"])[2] == {"received": 4, "total": 8}


def test_an_error_is_thrown_when_all_have_ended(node):
    code = """const { settleAll } = await import("./settle.js");
        let hasEnded = false;
        const slow = new Promise((resolve) => setTimeout(resolve, 50)).then(() => (hasEnded = true));
        const message = await settleAll([Promise.reject(new Error("first")), slow]).catch(({ message }) => message);
        return [message, hasEnded, await settleAll([1, slow])];"""
    assert node(code) == ["first", True, [1, True]]


RUNS = """const { expandRuns } = await import("./site_files.js");
const actions = expandRuns(new Int8Array([...new Uint8Array(new Int32Array(args[0]).buffer), ...args[1]]).buffer, 3);
return actions && [...actions];"""


@pytest.mark.parametrize(
    "runs, more, expected",
    [
        ([1, 2, 0, 1], [], [1, 1, 0]),
        ([], [], None),
        ([1, 2, 0], [], None),
        ([1, 2], [0, 0], None),
        ([3, 2], [], None),
        ([-1, 2], [], None),
        ([1, 0], [], None),
        ([1, -5, 1, 9], [], None),
        ([1, 999_999, 0, 2], [], None),
    ],
)
def test_a_damaged_list_is_refused(node, runs, more, expected):
    assert node(RUNS, runs, more) == expected


SITE = {
    "kind": "dream web page",
    "version": "1",
    "game": {"action_names": ["nothing", "jump"], "action_keys": [[], ["space"]], "fps": 30.0},
    "context": 4,
    "latent_shape": [4, 8, 12],
    "frame_shape": [32, 48],
    "num_starts": 3,
    "has_agent": False,
    "has_list": False,
    "files": {"main.js": 10},
}


@pytest.mark.parametrize(
    "change",
    [{name: None} for name in SITE]
    + [
        {"game": {**SITE["game"], "fps": 0}},
        {"game": {**SITE["game"], "action_keys": [[]]}},
        {"latent_shape": [4, 8]},
        {"frame_shape": [32, 0.5]},
        {"num_starts": 0},
        {"files": {"main.js": "10"}},
    ],
    ids=str,
)
def test_a_damaged_site_json_is_found_out(node, change):
    code = """const { isSite } = await import("./site_files.js"); return args.map(isSite);"""
    assert node(code, SITE, {**SITE, **change}) == [True, False]
