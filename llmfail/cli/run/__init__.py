"""What several commands do alike: open a client, run an ask, a batch or an embed."""
