"""What is learnt from: data.yaml, lists, labels, images, box sizes, the drawn set. No torch."""
