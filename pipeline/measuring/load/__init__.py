"""Requests that do not wait for each other: MLPerf's Server and Offline scenarios.

plan        what a block of load is, and what came of it
run         one block, by MLPerf LoadGen or by the fallback
workers     the threads that answer, each with a predictor of its own
requests    one block's requests, from their issue until the generator is told
arrivals    when the samples of a Server block are due
by_loadgen  the generator: MLPerf LoadGen
by_loop     the generator where LoadGen is missing
verdict     when a block is valid, and what would make it so
search      the highest rate of arrivals whose percentile stays under a bound
"""
