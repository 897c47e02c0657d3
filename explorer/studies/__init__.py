"""What a study is made of, as plain values: criteria and points, evidence as annotators see it. Nothing here knows
rows or pages."""
