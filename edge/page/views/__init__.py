"""The pages, one module each: what a request shows or does; what is shown is gathered beside this folder."""
