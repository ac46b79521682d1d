"""Which of TF Serving's batching parameters serve a load best: `modelmill batching`.

command          the verb
subject          what is served: a SavedModel folder, or the one of a finished run
candidates       the parameters that are worth a try, by what the model's own batches cost
search           successive halving over them, in alternating blocks of load
servers          a server for each, and a block of load on it
document         what came of it, as batching.json has it
parameters_file  the file that the server reads
found_with       whether a server has the flags that a file was found with
table            the same on a terminal
"""
