"""What is listened to, by which model, to whom, and for which words."""
