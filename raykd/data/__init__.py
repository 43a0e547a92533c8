"""Data: reading and tokenising rows, joining side tables, planning batches, streaming them to workers."""
