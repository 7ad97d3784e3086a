"""Processes of ours that start with what they import imported, for tests of what they compute.

Importing torch and transformers costs a child five CPU seconds, and running a tiny model costs it tenths; importing
what `llmperf` needs costs most of what a command on a stand-in takes. Under the fixtures of `fixtures.py` a child of
the modules in `client.MODULES`, or `llmperf` itself, is forked off a process that imported them before. It has its own
environment, directory, path, streams, exit status and session; a process whose environment could change what an import
does is started as ever. What is about processes (kills, memory, what is imported) does not use this.
"""
