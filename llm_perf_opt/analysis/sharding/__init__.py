"""How a model is laid out over ranks, and what each of them then computes, holds and sends."""
