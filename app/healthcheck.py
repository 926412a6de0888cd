"""``moongate healthcheck``, and ``python -m app.healthcheck`` where every tenth of a second counts: does it serve?

It loads nothing of the gateway: a container's engine asks every few seconds.
"""

import http.client
import os
import sys
from typing import Final

#: Where the admin port is unless MOONGATE_ADMIN says otherwise.
ADMIN: Final = "127.0.0.1:9000"
#: Seconds that an answer may take.
PATIENCE: Final = 2.0

_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}


def check(admin: str) -> str:
    """Ask ``/ping`` of the admin port at ``admin`` (``host:port``). Answers why it is not well, "" where it is."""
    if admin == "off":
        return "there is no admin port to ask: MOONGATE_ADMIN is off"
    host, _, port = admin.rpartition(":")
    if not port.isdecimal():
        return f"MOONGATE_ADMIN must be host:port or off, not {admin!r}"
    connection = http.client.HTTPConnection(_ANY.get(host, host.strip("[]")), int(port), timeout=PATIENCE)
    try:
        # By an address or localhost any admin port may be asked; another name may be of this machine alone.
        connection.request("GET", "/ping", headers={"Host": "localhost"})
        answer = connection.getresponse()
        text = answer.read(200).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return f"no answer from {admin}: {error}"
    finally:
        connection.close()
    return "" if answer.status == 200 else f"{admin} answers {answer.status}: {text}"


def main() -> None:
    """Exit with 0 where the gateway of MOONGATE_ADMIN serves, else with 1."""
    fault = check(os.environ.get("MOONGATE_ADMIN") or ADMIN)
    print(fault or "OK")
    sys.exit(bool(fault))


if __name__ == "__main__":
    main()
