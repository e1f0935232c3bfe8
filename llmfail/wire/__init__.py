"""The only place that opens a socket. A call goes out; a reply comes back, or a WireError.

``send`` gives it whole, and its limit covers all of it: name resolution, connecting, TLS, every byte of the
body. ``open`` gives it once its head is here, and each piece of the body is read within a limit of its own.
Redirects are not followed, because they would carry the key to another host.
"""
