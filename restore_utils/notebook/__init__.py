"""What notebooks show and ask: forms, previews, Colab."""
