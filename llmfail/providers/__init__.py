"""Wire formats, sans-I/O: a Request becomes an HTTP call, an HTTP reply becomes an answer."""
