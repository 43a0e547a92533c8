"""Worker processes of a local Ray, forked from one process that has made their imports.

Each worker of Ray is a new Python process that imports Ray, PyTorch and transformers itself: seconds of a processor each, and a
run starts ten of them. So a local Ray runs :mod:`raykd.fork_server.start_worker` in place of its own program for a worker: that
asks the fork server for a process, and where it gets none, becomes Ray's program.
"""
