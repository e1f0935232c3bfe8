"""The only place that opens a socket. A call goes out, a whole reply comes back, or a WireError.

The limit of a call covers all of it: name resolution, connecting, TLS, every byte of the body. Redirects
are not followed, because they would carry the key to another host.
"""

import sys

# httpx imports its own command line where click is installed: 40 ms that nobody here needs.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
