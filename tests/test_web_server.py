"""The server of the web page: ports that it cannot have."""

import errno

import pytest
from dream.common.errors import InputError
from dream.web import server


def test_a_port_of_another_server_is_left_to_it(tmp_path):
    with server.open_server(tmp_path, 0) as first:
        port = first.server_address[1]
        with server.open_server(tmp_path, port) as second:
            assert port < second.server_address[1] < port + server.PORTS_TRIED


@pytest.mark.parametrize(
    "port, message", [(80, "port 80 needs root.* 1024"), (8000, "8000 to 8019 are in use or not allowed")]
)
def test_a_port_that_is_not_allowed_is_reported(monkeypatch, tmp_path, port, message):
    def refuse(*_):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(server, "PageServer", refuse)
    with pytest.raises(InputError, match=message):
        server.open_server(tmp_path, port)
