"""`modelmill matrix`: every architecture in every format and precision, each made and run, or with the reason why not.

    command  the verb
    rows     what each row is a run of
    texts    scikit-learn's digits as texts, for the architectures that read
    cells    what the runs' reports say of each cell

What comes of it is in `pipeline/report/matrix.py`.
"""
