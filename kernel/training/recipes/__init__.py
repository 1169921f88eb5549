"""What is trained and how, as TOML files, and what reads and checks them."""
