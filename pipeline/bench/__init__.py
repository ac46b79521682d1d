"""`modelmill bench`: how fast any file, endpoint or image answers under MLPerf's scenarios.

command     the verb and its options
targets     what TARGET names: a file, a served model, an image, a run's artifact
settings    what is measured, and how
samples     what goes in: a data set, or random values of the signature's shapes
inside      what runs in the measuring process
rounds      the targets' turns, and what becomes of one that fails
servers     images that are started for it, and what servers tell of their own time
document    `bench.json` as types
results     from the blocks to the document
table       the result on a terminal
figures, page   `bench.html`
"""
