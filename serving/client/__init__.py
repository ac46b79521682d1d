"""Clients of TF Serving's API, over gRPC and REST, as Predictors."""
