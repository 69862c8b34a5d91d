"""Files as users have them: pictures, sentences, metadata, and writing that is all or nothing."""
