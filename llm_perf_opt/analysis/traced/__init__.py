"""Static analysis by tracing: builds a model on the meta device in a child process and counts what it calls."""
