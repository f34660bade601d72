"""The same verdicts in other people's libraries; each is imported only by who asks for it."""
