"""The commands: each module has `make_parser()` and `main()`; `scripts/` and the console command call them."""
