"""Jobs of `raykd run` without a kind: a teacher's logits distilled into students, compared on held-out rows."""
