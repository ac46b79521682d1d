"""`modelmill bundle`: a run's model as a zip that an app is built with, without modelmill."""
