"""llmperf: why is this model not faster?"""

__version__ = "0.2.0"
