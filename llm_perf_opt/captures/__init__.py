"""From foreign files to records and artefacts, the same whether a stage captured them or they were brought in."""
