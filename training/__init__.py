"""How the shipped models were made: data sets, networks, augmentation, training and evaluation."""
