"""Children that start with torch imported, for tests of what they compute.

Importing torch and transformers costs a child five CPU seconds, and running a tiny model costs it tenths. Under the
fixture `warm_children` a child of the modules in `client.MODULES` is forked off one process that imported them before.
It has its own environment, directory, path, streams, exit status and session; a child whose environment could change
what an import does is started as ever. What is about processes (kills, memory, what is imported) does not use this.
"""
