"""`modelmill tune`: looks for better values of a recipe's keys, with Optuna. Each trial is a run through the store."""
