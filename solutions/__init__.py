"""The reference solutions: one file per lesson, each its only hand-written source; and `waves`, only to be read."""
