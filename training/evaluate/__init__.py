"""How good the networks are, by the evaluation rules of the data README; changes no weight."""
