"""HTTP as a server speaks it: the only room that knows aiohttp's server. Who handles a request gets values.

Only the modules that are needed are imported: the router and the command line of aiohttp would take two more
megabytes of each worker.
"""
