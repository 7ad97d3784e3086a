"""Static analysis in closed form: FLOPs, parameters and bytes from `config.json` alone."""
