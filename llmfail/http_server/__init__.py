"""HTTP as a server speaks it: the only room that knows aiohttp.web. Who handles a request gets values."""
