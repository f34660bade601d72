"""What a report asks: each question is a module with its model, its null, its correction and its sentence."""
