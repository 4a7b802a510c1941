"""What was said: tokens, their vectors, transcripts and recognisers."""
