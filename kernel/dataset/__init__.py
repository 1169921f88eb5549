"""What ``build_dataset.py`` is made of: importing published checkpoints, building and checking the Kaggle data set."""
