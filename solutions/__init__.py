"""The reference solutions: one file per lesson, each the only hand-written source of its lesson."""
