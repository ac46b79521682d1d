"""What each layer will do in each stage and format, told before anything is trained.

It asks the very functions that the stages ask, so that it cannot disagree with them about a model's layers.
"""
