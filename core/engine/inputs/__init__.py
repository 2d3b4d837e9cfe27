"""What a step reads: sources turned into inputs, features, captions, and the batches made of them."""
