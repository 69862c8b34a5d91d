"""What a Hugging Face user would try, against a Hub of our own."""
