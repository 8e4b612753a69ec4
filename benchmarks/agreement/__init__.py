"""The built-in trainer against PyTorch: the same networks, written twice, trained on the same batches."""
