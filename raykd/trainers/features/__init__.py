"""Feature distillation: a student's embeddings, hidden states and attention learn from those of a frozen teacher."""
